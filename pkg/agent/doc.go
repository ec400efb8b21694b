// Package agent is for those who write agents in Go.
//
// An agent is a function that Main runs as a process of its own, or a Host as
// a goroutine; both under supervision. It sets what the agent does and calls
// Run, which beats, answers pings, processes tasks, reports their results and
// shuts down cleanly:
//
//	func main() {
//		agent.Main(func(ctx context.Context, o agent.Options) error {
//			o.Handle = func(ctx context.Context, t *agent.Task) (any, error) {
//				return map[string]string{"echo": t.ID}, nil
//			}
//			return agent.Run(ctx, o)
//		})
//	}
//
// It promises that an accepted task is run once however often it is
// dispatched; that its result is published until the log has acknowledged it,
// under an id that makes a second copy of it recognisable; that a panic in a
// handler fails the task and not the agent; that heartbeats are never sent
// late; and that an agent which sees a newer incarnation of itself ends. With a
// Watchdog in its options, heartbeats cease when its work makes no progress.
//
// What can be lost: the results of tasks that end while NATS cannot be reached
// and stays so until the agent has to stop. The router gives these tasks to
// another agent.
//
// Faults makes an agent fail on purpose, and a Listener hands a program the
// events of the whole fleet.
package agent
