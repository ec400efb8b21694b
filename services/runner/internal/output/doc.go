// Package output keeps what agents print.
//
// An agent writes into a FIFO that it has open for reading too. So it does not
// notice when its runner dies: what it prints waits in the FIFO, and is lost by
// nobody's death. The runner reads the FIFO, gives each line its time, and stores
// it as lines of package contracts in files that people can read as they are:
//
//	<directory of the agent>/output.fifo
//	<directory of the agent>/output/<incarnation>-<offset>.log
//
// Offset is how much of the incarnation's output was stored before that file. All
// files of an agent together stay within [Limits], the oldest go first. But the end
// of the incarnation before the newest, and of the first failure of a series, are
// kept for as long as there is room at all: they are the evidence, and a flood of
// the present incarnation must not wash them away.
//
// What can be lost: when the runner is killed, what it has read and not written
// yet, which is [readSize] at most; when the host loses power, what its file
// system loses. What an agent prints while no runner lives is kept until the FIFO
// is full; then the agent waits when it prints more. When it ends meanwhile, its
// reaper keeps what is in the FIFO (package reaper); only without a reaper is it lost.
package output
