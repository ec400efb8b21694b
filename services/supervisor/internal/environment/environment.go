// Package environment keeps the environments of agents that are added to the
// tree at run time. They may hold secrets, so they are not in the event log,
// which observers read: a specification only refers to one, and the environment
// itself is in the state bucket, from before the agent's addition is decided
// until the agent is removed. Each has a key of its own that is written once.
package environment

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/internal/guard"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// reference is what a start in a specification says beside contracts.StartCommand.
type reference struct {
	Environment string `json:"environment,omitempty"`
}

// Refer makes the start of a specification, which is a JSON object with content,
// refer to an environment.
func Refer(start json.RawMessage, ref string) (json.RawMessage, error) {
	raw, err := json.Marshal(reference{ref})
	if err != nil || len(start) < 3 || start[0] != '{' {
		return nil, fmt.Errorf("start %.80q cannot refer to an environment", start)
	}
	return append(append(raw[:len(raw)-1], ','), start[1:]...), nil
}

// Referred gives the environment that a start refers to, or "".
func Referred(start json.RawMessage) string {
	var r reference
	if json.Unmarshal(start, &r) != nil {
		return "" // whoever orders the start says so
	}
	return r.Environment
}

// Store holds the environments of one tree.
type Store struct {
	env    shell.Env
	tree   string
	bucket jetstream.KeyValue
	guard  *guard.Guard
	work   sync.WaitGroup

	mu sync.Mutex
	// kept are environments by reference, nil those that cannot be read.
	kept map[string]map[string]string
	// used are the references of the agents in the tree.
	used map[string]string
}

// patience bounds one attempt at a write.
const patience = 5 * time.Second

// Open reads the environments that are kept for a tree. Writes go through the
// guard, or through none that is nil.
func Open(ctx context.Context, env shell.Env, treeName string, g *guard.Guard) (*Store, error) {
	bucket, err := shell.WaitBucket(ctx, env, contracts.StateBucket, contracts.ServiceEventStore)
	if err != nil {
		return nil, err
	}
	s := &Store{env: env, tree: treeName, bucket: bucket, guard: g, kept: map[string]map[string]string{}, used: map[string]string{}}
	entries, err := bucket.Watch(ctx, contracts.EnvironmentKey(treeName, "*"), jetstream.IgnoreDeletes())
	if err != nil {
		return nil, fmt.Errorf("environments of tree %s: %w", treeName, err)
	}
	defer func() { _ = entries.Stop() }()
	for {
		select {
		case e, open := <-entries.Updates():
			if !open {
				return nil, fmt.Errorf("environments of tree %s: the connection ended while they were read", treeName)
			}
			if e == nil {
				return s, nil
			}
			s.read(e)
		case <-ctx.Done():
			return nil, fmt.Errorf("environments of tree %s: %w", treeName, ctx.Err())
		}
	}
}

func (s *Store) read(e jetstream.KeyValueEntry) {
	var vars map[string]string
	ref := e.Key()[strings.LastIndexByte(e.Key(), '.')+1:]
	if err := json.Unmarshal(e.Value(), &vars); err != nil {
		// Not the error itself, which may quote a value.
		s.env.Log.Error("an environment cannot be read; its agent, if there is one, cannot be started", "tree", s.tree, "key", e.Key())
		vars = nil
	}
	s.kept[ref] = vars
}

// Keep stores an environment and gives the reference to it.
func (s *Store) Keep(ctx context.Context, vars map[string]string) (ref string, err error) {
	ref = uuid.NewString()
	body, err := json.Marshal(vars)
	if err == nil {
		err = s.write(ctx, "write", func(ctx context.Context) error {
			_, err := s.bucket.Put(ctx, contracts.EnvironmentKey(s.tree, ref), body)
			return err
		})
	}
	if err != nil {
		return "", fmt.Errorf("store an environment in %s: %w", contracts.StateBucket, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept[ref] = vars
	return ref, nil
}

// write makes a call that may be repeated.
func (s *Store) write(ctx context.Context, op string, call func(context.Context) error) error {
	attempt := func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		return call(ctx)
	}
	if s.guard == nil {
		return attempt(ctx)
	}
	return s.guard.Run(ctx, op, attempt)
}

// ErrLost tells that an environment that is referred to is not there.
var ErrLost = errors.New("its environment is not to be found in bucket " + contracts.StateBucket + "; remove the agent and add it again")

// Get gives the environment that a reference is to.
func (s *Store) Get(ref string) (map[string]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	vars := s.kept[ref]
	if vars == nil {
		return nil, ErrLost
	}
	return vars, nil
}

// Drop deletes an environment that no agent came to use.
func (s *Store) Drop(ref string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, used := range s.used {
		if used == ref {
			return
		}
	}
	s.deleteLocked([]string{ref})
}

// Begin tells which agents there are, and deletes the environments of all others,
// which were left behind.
func (s *Store) Begin(specs map[string]*tree.Spec) {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.used)
	wanted := map[string]bool{}
	for id, spec := range specs {
		if ref := refOf(spec); ref != "" {
			s.used[id], wanted[ref] = ref, true
		}
	}
	var old []string
	for ref := range s.kept {
		if !wanted[ref] {
			old = append(old, ref)
		}
	}
	s.deleteLocked(old)
}

// Follow takes note of stored changes: environments of agents that were removed,
// or are specified anew, are deleted.
func (s *Store) Follow(changes []tree.Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.kept) == 0 {
		return
	}
	var old []string
	for _, c := range changes {
		if !c.Removed && c.Spec == nil {
			continue
		}
		before, now := s.used[c.ID], ""
		if !c.Removed {
			now = refOf(c.Spec)
		}
		if before != "" && before != now {
			delete(s.used, c.ID)
			old = append(old, before)
		}
		if now != "" {
			s.used[c.ID] = now
		}
	}
	s.deleteLocked(old)
}

func refOf(spec *tree.Spec) string {
	if spec == nil || spec.Agent == nil {
		return ""
	}
	return Referred(spec.Agent.Start)
}

// deleteLocked forgets environments at once, and deletes them soon. What is not
// deleted is by the next supervisor that begins.
func (s *Store) deleteLocked(refs []string) {
	for _, ref := range refs {
		delete(s.kept, ref)
	}
	if len(refs) == 0 {
		return
	}
	s.work.Go(func() {
		for _, ref := range refs {
			ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
			err := s.write(ctx, "purge", func(ctx context.Context) error {
				return s.bucket.Purge(ctx, contracts.EnvironmentKey(s.tree, ref))
			})
			cancel()
			if err != nil {
				s.env.Log.Warn("environments of agents that are gone are not deleted yet", "tree", s.tree, "error", err)
				return
			}
		}
	})
}

// Close waits until what is to be deleted is, or cannot be.
func (s *Store) Close() { s.work.Wait() }
