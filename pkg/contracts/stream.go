package contracts

import (
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Names of the streams and buckets.
const (
	EventStream = "SMITH_EVENTS"
	TaskStream  = "SMITH_TASKS"
	DeadStream  = "SMITH_DEAD"
	StateBucket = "SMITH_STATE"
)

// DedupWindow is how long JetStream remembers message ids. Beyond it, ids and
// incarnations still keep consumers from acting twice.
const DedupWindow = 2 * time.Minute

// StreamOptions are what a deployment may choose about the streams. The zero
// value is a single server with 30 days of events.
type StreamOptions struct {
	// Replicas is 1, 3 or 5; 0 means 1.
	Replicas int
	// MaxAge is how long events are kept; 0 means 30 days.
	MaxAge time.Duration
	// MaxBytes bounds the event stream; 0 means no bound.
	MaxBytes int64
	// MaxTasks bounds the tasks waiting; 0 means 1,000,000.
	MaxTasks int64
}

func (o StreamOptions) withDefaults() StreamOptions {
	if o.Replicas == 0 {
		o.Replicas = 1
	}
	if o.MaxAge == 0 {
		o.MaxAge = 30 * 24 * time.Hour
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = -1
	}
	if o.MaxTasks == 0 {
		o.MaxTasks = 1_000_000
	}
	return o
}

// EventStreamConfig defines the log; the event store owns it.
func EventStreamConfig(o StreamOptions) jetstream.StreamConfig {
	o = o.withDefaults()
	return jetstream.StreamConfig{
		Name:        EventStream,
		Description: "MisterSmith: everything that happened",
		Subjects:    []string{EventWildcard},
		Retention:   jetstream.LimitsPolicy,
		Storage:     jetstream.FileStorage,
		Compression: jetstream.S2Compression,
		MaxAge:      o.MaxAge,
		MaxBytes:    o.MaxBytes,
		MaxMsgSize:  MaxEventBytes + 8<<10,
		Replicas:    o.Replicas,
		Duplicates:  DedupWindow,
		AllowDirect: true,
		DenyDelete:  true,
		DenyPurge:   true,
	}
}

// TaskStreamConfig defines the queue of tasks; the router owns it. A full
// queue refuses new tasks instead of dropping old ones.
func TaskStreamConfig(o StreamOptions) jetstream.StreamConfig {
	o = o.withDefaults()
	return jetstream.StreamConfig{
		Name:        TaskStream,
		Description: "MisterSmith: tasks not yet done",
		Subjects:    []string{TaskWildcard},
		Retention:   jetstream.WorkQueuePolicy,
		Discard:     jetstream.DiscardNew,
		Storage:     jetstream.FileStorage,
		MaxMsgs:     o.MaxTasks,
		MaxMsgSize:  MaxTaskBytes + 8<<10,
		Replicas:    o.Replicas,
		Duplicates:  DedupWindow,
		AllowDirect: true,
	}
}

// DeadStreamConfig defines where messages are set aside; the event store owns
// it.
func DeadStreamConfig(o StreamOptions) jetstream.StreamConfig {
	o = o.withDefaults()
	return jetstream.StreamConfig{
		Name:        DeadStream,
		Description: "MisterSmith: messages and tasks set aside",
		Subjects:    []string{DeadWildcard},
		Retention:   jetstream.LimitsPolicy,
		Storage:     jetstream.FileStorage,
		Compression: jetstream.S2Compression,
		MaxAge:      o.MaxAge,
		MaxBytes:    256 << 20,
		Replicas:    o.Replicas,
		Duplicates:  DedupWindow,
		AllowDirect: true,
	}
}

// StateBucketConfig defines the bucket of snapshots and of what must not be in
// the log; the event store creates it. Writers use compare-and-set only.
func StateBucketConfig(o StreamOptions) jetstream.KeyValueConfig {
	o = o.withDefaults()
	return jetstream.KeyValueConfig{
		Bucket:      StateBucket,
		Description: "MisterSmith: snapshots, rules of operators, environments of added agents",
		History:     2,
		Storage:     jetstream.FileStorage,
		Replicas:    o.Replicas,
		MaxBytes:    -1,
	}
}

// TreeStateKey and RouterStateKey are keys of the state bucket.
func TreeStateKey(tree string) string { return "tree." + tree }

// DetectorRuleKey is where what an operator ordered of an agent's watching is
// kept; "*" stands for all agents.
func DetectorRuleKey(agent string) string { return "detector." + agent }

// SupervisorLeaseKey is the lease of the supervisor that decides; the others wait
// for its end.
const SupervisorLeaseKey = "lease.supervisor"

// EnvironmentKey is where the environment of an agent that was added to a tree at
// run time is kept, which is not in the log; "*" stands for all.
func EnvironmentKey(tree, ref string) string { return "environment." + tree + "." + ref }

// RouterStateKey is where the router keeps its snapshot.
const RouterStateKey = "router"
