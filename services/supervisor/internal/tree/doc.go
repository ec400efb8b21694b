// Package tree is the supervisor's core: given what happened, it decides what
// is started, stopped and restarted. It has the semantics of Erlang/OTP's
// supervisor, with what OTP lacks: backoff, verified starts, durable dynamic
// children, placement and a choice of what exceeding a limit leads to.
//
// The package is pure: it reads no clock, logs nothing, talks to nobody and
// waits for nothing. [Tree.Step] takes one input and the time and appends the
// effects that somebody else must perform; results of effects come back as
// inputs. Starts and stops are asynchronous, and every supervisor node works
// through its own queue, so a slow stop in one subtree never delays another.
//
// All state is plain data. [Tree.Changes] gives the full new value of whatever
// changed since it was last called; applying those to a [Snapshot] in order
// gives the tree again, at any point, also in the middle of a group restart,
// and [Tree.Outstanding] gives the effects whose results are still awaited.
package tree
