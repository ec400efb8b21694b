// Package arch holds the code to the shape that makes it what it is: services
// that share nothing but messages, and cores that can be replayed. It has tests
// only. Where one fails, its message says which package breaks which rule and
// why the rule is there.
package arch
