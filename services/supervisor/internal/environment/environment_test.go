package environment

import (
	"encoding/json"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

func TestMain(m *testing.M) { natstest.Main(m) }

// keys lists what is kept for the tree.
func keys(t *testing.T, s *Store) (refs []string) {
	t.Helper()
	list, err := s.bucket.ListKeysFiltered(t.Context(), contracts.EnvironmentKey("main", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for key := range list.Keys() {
		if ref := key[strings.LastIndexByte(key, '.')+1:]; ref != secretKey {
			refs = append(refs, ref)
		}
	}
	return refs
}

func using(ref string) *tree.Spec {
	return &tree.Spec{Agent: &tree.Agent{Start: json.RawMessage(`{"environment":"` + ref + `"}`)}}
}

// TestSharedEnvironments: agents with the same environment share one, which is
// there until the last of them is gone, or until those who may yet use it have
// said that they do not.
func TestSharedEnvironments(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		server := natstest.Start(t)
		nc := server.Connect(t)
		natstest.Streams(t, natstest.JetStream(t, nc))
		env, err := shell.NewEnv(t.Context(), "supervisor", "s1", nc, slog.New(slog.DiscardHandler), prometheus.NewRegistry(), shell.NewHealth("supervisor"))
		if err != nil {
			t.Fatal(err)
		}
		open := func() *Store {
			t.Helper()
			s, err := Open(t.Context(), env, "main", nil)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		keep := func(s *Store, agent, token string) string {
			t.Helper()
			ref, err := s.Keep(t.Context(), agent, map[string]string{"TOKEN": token})
			if err != nil {
				t.Fatal(err)
			}
			return ref
		}
		kept := func(s *Store, what string, want int) {
			t.Helper()
			<-time.After(time.Second)
			s.Close()
			if refs := keys(t, s); len(refs) != want {
				t.Errorf("%s: %v are kept, want %d", what, refs, want)
			}
		}
		s := open()
		a, b, c := keep(s, "a", "x"), keep(s, "b", "x"), keep(s, "c", "y")
		if a != b || a == c || strings.Contains(a+c, "x") || strings.Contains(a+c, "y") {
			t.Errorf("references %s, %s and %s", a, b, c)
		}
		kept(s, "while all are held", 2)
		s.Follow([]tree.Change{{ID: "a", Spec: using(a)}, {ID: "b", Spec: using(b)}})
		for _, ref := range []string{a, b, c} {
			s.Drop(ref)
		}
		kept(s, "when nobody came to use one", 1)
		s.Follow([]tree.Change{{ID: "a", Removed: true}})
		kept(s, "while one agent is left", 1)

		// A successor has the same key, so the same content has the same reference.
		next := open()
		next.Begin(map[string]*tree.Spec{"b": using(b)}, nil)
		if ref, there, err := next.Find("b", map[string]string{"TOKEN": "x"}); ref != b || !there || err != nil {
			t.Errorf("a successor refers to %s, %t, %v; want %s", ref, there, err, b)
		}
		if vars, err := next.Get(b); err != nil || !maps.Equal(vars, map[string]string{"TOKEN": "x"}) {
			t.Errorf("a successor has %v, %v", vars, err)
		}
		// What is deleted and wanted again at once is another one, so that its
		// deletion does not take the new one along.
		next.Follow([]tree.Change{{ID: "b", Removed: true}})
		if again := keep(next, "b", "x"); again == b {
			t.Errorf("%s is used again while it is deleted", again)
		}
		kept(next, "wanted again", 1)
		// The configuration's text is kept like an environment.
		text := keep(next, "", "text")
		next.Follow([]tree.Change{{ID: "root", State: &tree.State{Supervisor: &tree.Supervised{Configured: &tree.Configured{Text: text}}}}})
		next.Drop(text)
		kept(next, "with a text", 2)
		next.Begin(nil, &tree.Configured{Text: text})
		kept(next, "nothing but the text, and what is held", 2)
		if _, err := next.bucket.Get(t.Context(), contracts.EnvironmentKey("main", secretKey)); err != nil {
			t.Errorf("the key of digests: %v", err)
		}
	})
}
