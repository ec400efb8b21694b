package agent

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

func TestExitCodes(t *testing.T) {
	env := func(name string) string { return map[string]string{contracts.EnvAgent: "w1"}[name] }
	none := func(string) string { return "" }
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	tests := map[string]struct {
		ctx    context.Context
		getenv func(string) string
		err    error
		want   int
	}{
		"ended":                    {t.Context(), env, nil, 0},
		"failed":                   {t.Context(), env, errors.New("x"), 1},
		"told to end":              {cancelled, env, context.Canceled, 0},
		"told to end, and failed":  {cancelled, env, errors.New("x"), 1},
		"cancelled by something":   {t.Context(), env, context.Canceled, 1},
		"not the env of any agent": {t.Context(), none, nil, 2},
	}
	for name, tt := range tests {
		got := run(tt.ctx, func(_ context.Context, o Options) error {
			if o.Agent != "w1" || len(o.Args) != 1 {
				t.Errorf("%s: options %+v", name, o)
			}
			return tt.err
		}, tt.getenv, []string{"-v"}, io.Discard, nil)
		if got != tt.want {
			t.Errorf("%s: exit code %d, want %d", name, got, tt.want)
		}
	}
}

func TestAttemptsForgetTheOldest(t *testing.T) {
	s := newAttempts(2)
	s.add("a", 1)
	s.add("b", 1)
	s.add("c", 1)
	if s.has("a", 1) || !s.has("b", 1) || !s.has("c", 1) || s.has("c", 2) {
		t.Errorf("%+v", s)
	}
	for range 100 {
		s.add("x", len(s.ring)+s.next)
	}
	if len(s.ring) != 2 || len(s.known) > 2 {
		t.Errorf("grew to %d and %d", len(s.ring), len(s.known))
	}
}

func FuzzDecodeDispatch(f *testing.F) {
	f.Add([]byte(`{"task":"t1","type":"code","attempt":1,"agent":"w1","incarnation":3,"payload":{"n":1}}`))
	f.Add([]byte(`{"task":"a.b","type":"*","attempt":0}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var d contracts.TaskDispatch
		if decodeDispatch("w1", body, &d) != nil {
			return
		}
		if contracts.ValidateID(d.Task) != nil || contracts.ValidateID(d.Type) != nil || d.Attempt < 1 {
			t.Errorf("accepted %+v", d)
		}
	})
}
