// Package decisionlog is how decisions about a tree are written in the log and
// read from it: one codec, and one table of words for inputs and effects. It is
// pure; package journal stores and reads the messages.
package decisionlog
