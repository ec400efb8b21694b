package supervisor

import (
	"errors"
	"strings"

	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// ask sends a request to the supervisor that decides.
func ask[T any](w *world, verb string, req any) (T, error) {
	w.t.Helper()
	return shell.Call[T](w.t.Context(), w.nc, "smith.supervisor."+verb, req)
}

// must returns the answer to a request that the supervisor must not refuse.
func must[T any](w *world, verb string, req any) T {
	w.t.Helper()
	reply, err := ask[T](w, verb, req)
	if err != nil {
		w.t.Fatalf("%s %+v: %v", verb, req, err)
	}
	return reply
}

// order orders something that the supervisor must not refuse.
func (w *world) order(verb string, req any) {
	w.t.Helper()
	must[contracts.OrderReply](w, verb, req)
}

// refusal returns the code of the answer to a request, "ok" if it was granted.
func (w *world) refusal(verb string, req any) string {
	w.t.Helper()
	_, err := ask[contracts.OK](w, verb, req)
	var refused *shell.APIError
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &refused):
		w.t.Log(refused)
		return refused.Code
	}
	w.t.Fatal(err)
	return ""
}

// wantRefused checks the code of a refusal, if one is given, and a part of what it
// says.
func (w *world) wantRefused(what string, err error, code, part string) {
	w.t.Helper()
	var refused *shell.APIError
	if !errors.As(err, &refused) || code != "" && refused.Code != code || !strings.Contains(refused.Message, part) {
		w.t.Errorf("%s: answered %v; want %s and %q", what, err, code, part)
	}
}
