// Package reaper keeps the exit statuses of agents while no runner lives.
//
// A runner does not start agents itself. It has them started by its reaper, a
// small process in a session of its own, which is therefore their parent. The
// reaper outlives the runner, kill -9 included. It waits for every agent and for
// every process that agents leave behind, and keeps each agent's status until a
// runner has taken it: in memory and in a file. The next runner finds the reaper
// by its socket, learns what runs and what has ended, and continues with it.
//
//	<state dir>/reaper/exits/       one file per status that no runner has taken
//	<state dir>/reaper/output/      one file per program that printed what no runner has read
//	<state dir>/reaper/1/lock       held by a reaper as long as it lives
//	<state dir>/reaper/1/socket     where the runner connects
//	<state dir>/reaper/1/log        empty, unless the reaper has failed
//
// Programs inherit from their reaper what they would inherit from the runner, except
// blocked and ignored signals, with which a stop signal may not stop them. A
// runner that was upgraded, or got other limits, rights or namespaces, therefore
// starts a reaper of its own, and only hears from the former one how its programs
// end.
//
// # What is kept
//
//   - The runner is killed, at any instant: a start that it has sent is carried
//     out, and every status is kept. The reaper reads all that the runner has sent
//     before it talks to the next one, so the next one sees all of it. What a program
//     printed last is kept, too: the reaper has its FIFO open, and moves to a file
//     what is in it when the program has ended.
//   - The reaper is killed: its agents become the runner's children, if the runner
//     lives and had started this reaper. Each status that the reaper has seen is in
//     a file. The next start begins another reaper.
//   - Both are killed at once: what ends before the next runner comes is lost, but
//     for the kernel's own memory (Linux 6.15, package process).
//
// A reaper ends when it has neither a runner nor a running agent, and all it
// knows is in files.
package reaper
