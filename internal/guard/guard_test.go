package guard_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/mistersmith/mistersmith/internal/guard"
)

var errDown = errors.New("down")

func TestDoGivesTheResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := guard.New("svc", guard.Options{})
		got, err := guard.Do(t.Context(), g, "op", func(context.Context) (int, error) { return 42, nil })
		if got != 42 || err != nil {
			t.Fatalf("got %d, %v", got, err)
		}
	})
}
