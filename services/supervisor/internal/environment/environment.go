// Package environment keeps the environments of agents. They may hold secrets,
// so they are not in the event log, which observers read: a specification only
// refers to one, and the environment itself is in the state bucket, from before
// the specification is decided until no agent refers to it. Each has its own key
// that is written once. A reference begins with a keyed digest of the content:
// it shows that two environments differ, and nothing else of them.
package environment

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/internal/guard"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/reference"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// Store holds the environments of one tree.
type Store struct {
	env    shell.Env
	tree   string
	bucket jetstream.KeyValue
	guard  *guard.Guard
	work   sync.WaitGroup

	// secret is the key of digests.
	secret []byte

	mu sync.Mutex
	// kept are environments by reference, nil those that cannot be read.
	kept map[string]map[string]string
	// known are the references to what is kept, by its digest.
	known map[string]string
	// used are the references of the agents in the tree, users counts the agents
	// by reference.
	used  map[string]string
	users map[string]int
	// held counts, by reference, those who may yet have an agent refer to it.
	held map[string]int
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
	s := &Store{env: env, tree: treeName, bucket: bucket, guard: g, kept: map[string]map[string]string{}, known: map[string]string{}, used: map[string]string{}, users: map[string]int{}, held: map[string]int{}}
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
				return s, s.agree(ctx)
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
	if ref == secretKey {
		s.secret = e.Value()
		return
	}
	if err := json.Unmarshal(e.Value(), &vars); err != nil {
		// Not the error itself, which may quote a value.
		s.env.Log.Error("an environment cannot be read; its agent, if there is one, cannot be started", "tree", s.tree, "key", e.Key())
		vars = nil
	}
	s.rememberLocked(ref, vars)
}

// secretKey is where the key of digests is, among the environments.
const secretKey = "key"

// agree makes the key of digests, unless there is one: every supervisor of the
// tree has the same.
func (s *Store) agree(ctx context.Context) error {
	if len(s.secret) > 0 {
		return nil
	}
	secret := make([]byte, 32)
	if _, err := rand.Read(secret); err != nil {
		return fmt.Errorf("key of the environments of tree %s: %w", s.tree, err)
	}
	key := contracts.EnvironmentKey(s.tree, secretKey)
	err := s.write(ctx, "write", func(ctx context.Context) error {
		_, err := s.bucket.Put(ctx, key, secret)
		return err
	})
	if err != nil {
		return fmt.Errorf("store the key of the environments of tree %s: %w", s.tree, err)
	}
	s.secret = secret
	return nil
}

// Digest stands for a text that must not be known. Only supervisors of the tree
// can make it.
func (s *Store) Digest(text []byte) string {
	mac := hmac.New(sha256.New, s.secret)
	mac.Write(text)
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// digest stands for an environment.
func (s *Store) digest(vars map[string]string) (string, []byte, error) {
	body, err := json.Marshal(vars) // in the order of names
	if err != nil {
		return "", nil, fmt.Errorf("an environment cannot be written: %w", err)
	}
	return s.Digest(body), body, nil
}

// Find returns the reference to an environment: that of the agent, if its is the
// same, or another one that is kept. Without any it returns one that nothing is
// kept under, which is good for comparisons alone.
func (s *Store) Find(agent string, vars map[string]string) (ref string, kept bool, err error) {
	digest, _, err := s.digest(vars)
	if err != nil {
		return "", false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ref, kept = s.findLocked(agent, digest)
	return ref, kept, nil
}

func (s *Store) findLocked(agent, digest string) (string, bool) {
	if ref := s.used[agent]; reference.Same(ref, digest) && s.kept[ref] != nil {
		return ref, true
	}
	ref, kept := s.known[digest]
	return cmp.Or(ref, digest), kept
}

// rememberLocked makes an environment one that can be referred to.
func (s *Store) rememberLocked(ref string, vars map[string]string) {
	s.kept[ref] = vars
	if digest, _, ok := strings.Cut(ref, "-"); ok && vars != nil {
		s.known[digest] = ref
	}
}

func (s *Store) forgetLocked(ref string) {
	delete(s.kept, ref)
	if digest, _, _ := strings.Cut(ref, "-"); s.known[digest] == ref {
		delete(s.known, digest)
	}
}

// Keep stores an environment, unless it is stored already, and returns the
// reference to it. It is kept until [Store.Drop], and then for as long as an
// agent refers to it.
func (s *Store) Keep(ctx context.Context, agent string, vars map[string]string) (ref string, err error) {
	digest, body, err := s.digest(vars)
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	ref, kept := s.findLocked(agent, digest)
	if kept {
		s.held[ref]++
	}
	s.mu.Unlock()
	if kept {
		return ref, nil
	}
	// Not by its content alone: what was just deleted may still be being deleted.
	ref = digest + "-" + uuid.NewString()[:8]
	err = s.write(ctx, "write", func(ctx context.Context) error {
		_, err := s.bucket.Put(ctx, contracts.EnvironmentKey(s.tree, ref), body)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("store an environment in %s: %w", contracts.StateBucket, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rememberLocked(ref, vars)
	s.held[ref]++
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
var ErrLost = errors.New("its environment is not to be found in bucket " + contracts.StateBucket + "; apply the configuration again, or remove the agent and add it again")

// Get returns the environment that a reference is to.
func (s *Store) Get(ref string) (map[string]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	vars := s.kept[ref]
	if vars == nil {
		return nil, ErrLost
	}
	return vars, nil
}

// Drop ends what Keep began. An environment that no agent came to use is
// deleted.
func (s *Store) Drop(ref string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[ref]--; s.held[ref] <= 0 {
		delete(s.held, ref)
	}
	s.deleteLocked([]string{ref})
}

// Begin tells which agents there are and what the configuration is, and deletes
// what none of them refers to, which was left behind.
func (s *Store) Begin(specs map[string]*tree.Spec, c *tree.Configured) {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.used)
	clear(s.users)
	for id, spec := range specs {
		s.useLocked(id, refOf(spec))
	}
	if c != nil {
		s.useLocked("", c.Text)
	}
	s.deleteLocked(slices.Collect(maps.Keys(s.kept)))
}

// useLocked makes an agent refer to an environment, or to none, and returns the
// one that it referred to before.
func (s *Store) useLocked(agent, ref string) (before string) {
	if before = s.used[agent]; before != "" {
		delete(s.used, agent)
		if s.users[before]--; s.users[before] <= 0 {
			delete(s.users, before)
		}
	}
	if ref != "" {
		s.used[agent] = ref
		s.users[ref]++
	}
	return before
}

// Follow applies stored changes: environments that no agent refers to any longer
// are deleted.
func (s *Store) Follow(changes []tree.Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.kept) == 0 {
		return
	}
	var old []string
	for _, c := range changes {
		if c.State != nil && c.State.Supervisor != nil && c.State.Supervisor.Configured != nil { // the root
			if text := c.State.Supervisor.Configured.Text; s.used[""] != text {
				old = append(old, s.useLocked("", text))
			}
		}
		if !c.Removed && c.Spec == nil {
			continue
		}
		now := ""
		if !c.Removed {
			now = refOf(c.Spec)
		}
		if before := s.useLocked(c.ID, now); before != "" && before != now {
			old = append(old, before)
		}
	}
	s.deleteLocked(old)
}

func refOf(spec *tree.Spec) string {
	if spec == nil || spec.Agent == nil {
		return ""
	}
	return reference.Of(spec.Agent.Start)
}

// deleteLocked forgets those of some environments that nobody needs, at once, and
// deletes them soon. What is not deleted is by the next supervisor that begins.
func (s *Store) deleteLocked(refs []string) {
	refs = slices.DeleteFunc(slices.Clone(refs), func(ref string) bool {
		_, kept := s.kept[ref]
		return !kept || s.users[ref] > 0 || s.held[ref] > 0
	})
	for _, ref := range refs {
		s.forgetLocked(ref)
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
