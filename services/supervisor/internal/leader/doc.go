// Package leader decides about one tree: it takes the tree over from a
// predecessor, batches what happens, makes decisions of it and releases their
// effects once they are stored. It has no clock, no connection and no log of
// its own; whoever drives it does, in the manner of etcd's raft:
//
//	for l.Ready() {
//		b := l.Decide(now, id)
//		if b.MustStore() {
//			store b, fenced, in the messages that an [Append] names
//		}
//		out := l.Advance(b)
//		perform out, and l.Due()
//	}
//
// The service drives it with NATS, the simulation with its world, so what the
// simulation finds holds for the service. Everything rests on one order: step,
// store, act. No effect is released before its decision is stored.
//
// A leader begins as [Claiming]: its first decision changes nothing, but from
// then on the log refuses predecessors. What they have stored until then is
// applied first ([CatchingUp]), then the configuration, then it leads.
package leader
