package guard_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/internal/guard"
)

// A service that keeps failing is left alone after two failures.
func ExampleDo() {
	ctx := context.Background()
	store := guard.New("store", guard.Options{
		Retry:   config.Retry{MaxAttempts: 1, Base: 1},
		Breaker: config.CircuitBreaker{FailureThreshold: 2, SuccessThreshold: 1, Timeout: time.Minute, HalfOpenMaxCalls: 1},
	})
	for range 3 {
		_, err := guard.Do(ctx, store, "get", func(context.Context) (string, error) {
			return "", errors.New("no responders")
		})
		fmt.Println(err, errors.Is(err, guard.ErrOpen))
	}
	fmt.Println(store.Transitions()[0].Reason)
	// Output:
	// store::get: no responders false
	// store::get: no responders false
	// store::get: circuit breaker open true
	// 2 failures in a row, the last: no responders
}
