// Package sim is a deterministic simulation of the supervisor: the real core,
// package tree, driven as package keeper drives it, between models of the log,
// of runners, agents, the detector and the network, in which everything fails.
//
// A run is a function of its seed. [Generate] makes a [Scenario] of it (a small
// tree, who is there, how bad the network is, what goes wrong when), [Run]
// plays it in virtual time, without goroutines or a clock, and checks every
// [Invariant] at every step. Some seconds into it faults cease, and within a
// bound all must be well. [Shrink] reduces a scenario that breaks an invariant
// to what is needed for it.
//
// That the invariants catch what they are there for is shown by [Mutations]:
// ways to build the shell, the log or the runner wrong, each of which a test
// wants caught. docs/simulation.md lists what is modelled, and what is not.
package sim
