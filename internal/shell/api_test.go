package shell_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

type ask struct {
	N int `json:"n"`
}

// TestStopAnswersWhatIsInHand: nobody waits for an answer that never comes.
func TestStopAnswersWhatIsInHand(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		s := natstest.Start(t)
		env := newEnv(t, s, "router")
		serving, end := context.WithCancel(t.Context())
		defer end()
		api, err := shell.NewAPI(serving, env, "test", nil)
		if err != nil {
			t.Fatal(err)
		}
		begun := make(chan struct{})
		err = shell.Handle(api, "wait", func(ctx context.Context, req ask) (ask, error) {
			close(begun)
			<-ctx.Done()
			<-time.After(time.Second)
			return ask{N: req.N + 1}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := env.NC.Flush(); err != nil { // or there may be no responders yet
			t.Fatal(err)
		}
		nc, got := s.Connect(t), make(chan ask, 1)
		go func() {
			reply, err := shell.Call[ask](t.Context(), nc, "smith.router.wait", ask{41})
			if err != nil {
				t.Error(err)
			}
			got <- reply
		}()
		<-begun
		short, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := api.Stop(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("stopped with a request in hand: %v", err)
		}
		end()
		if err := api.Stop(t.Context()); err != nil {
			t.Error(err)
		}
		env.NC.Close()
		if reply := <-got; reply.N != 42 {
			t.Errorf("answered %+v", reply)
		}
	})
}

// TestAnswersHaveLists: a list that nobody filled is answered as [].
func TestAnswersHaveLists(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		s := natstest.Start(t)
		env := newEnv(t, s, "router")
		api, err := shell.NewAPI(t.Context(), env, "test", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = api.Stop(t.Context()) }()
		err = shell.Handle(api, "agents", func(context.Context, ask) (contracts.RouterView, error) { return contracts.RouterView{}, nil })
		if err == nil {
			err = env.NC.Flush()
		}
		if err != nil {
			t.Fatal(err)
		}
		m, err := s.Connect(t).Request("smith.router.agents", nil, time.Second)
		if err != nil || !strings.Contains(string(m.Data), `"agents":[]`) {
			t.Errorf("%v: %+v", err, m)
		}
	})
}

func TestAPI(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		s := natstest.Start(t)
		env := newEnv(t, s, "router")
		api, err := shell.NewAPI(t.Context(), env, "test", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer api.Stop(t.Context())
		err = shell.Handle(api, "double", func(_ context.Context, req ask) (ask, error) {
			if req.N < 0 {
				return ask{}, shell.Errorf(contracts.CodeConflict, "%v", errors.Join(errors.New("negative"), errors.New("odd")))
			}
			return ask{N: 2 * req.N}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		env.Ready()
		nc := s.Connect(t)
		got, err := shell.Call[ask](t.Context(), nc, "smith.router.double", ask{21})
		if err != nil || got.N != 42 {
			t.Errorf("got %v, %v", got, err)
		}
		for name, c := range map[string]struct {
			subject string
			req     any
			code    string
		}{
			"refused":   {"smith.router.double", ask{-1}, contracts.CodeConflict},
			"not JSON":  {"smith.router.double", "x", contracts.CodeBadRequest},
			"too large": {"smith.router.double", strings.Repeat("x", contracts.MaxRequestBytes), contracts.CodeTooLarge},
			"nobody":    {"smith.router.none", ask{}, contracts.CodeNotReady},
		} {
			_, err := shell.Call[ask](t.Context(), nc, c.subject, c.req)
			var apiErr *shell.APIError
			if !errors.As(err, &apiErr) || apiErr.Code != c.code {
				t.Errorf("%s: got %v, want code %s", name, err, c.code)
			}
			if name == "refused" && apiErr.Message != "negative; odd" {
				t.Errorf("refused with %q", apiErr.Message)
			}
		}
	})
}
