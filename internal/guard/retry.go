package guard

import (
	"context"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/mistersmith/mistersmith/internal/config"
)

// retry makes attempts until one succeeds, one fails for good, as many as
// allowed have been made, or ctx ends. It gives the last attempt's result.
func retry[T any](ctx context.Context, opts config.Retry, worth func(error) bool, notify func(), attempt func() (T, error)) (T, error) {
	// Nearly all calls succeed at once, and some are waited for: those need none
	// of what follows.
	v, last := attempt()
	if last == nil {
		return v, nil
	}
	tries, wanted := 0, false
	v, err := backoff.Retry(ctx, func() (T, error) {
		if tries++; tries > 1 {
			v, last = attempt()
		}
		wanted = last != nil && tries < opts.MaxAttempts && worth(last)
		if last != nil && !wanted {
			return v, backoff.Permanent(last)
		}
		return v, last
	},
		backoff.WithMaxTries(0), // wanted counts them
		backoff.WithMaxElapsedTime(0),
		backoff.WithBackOff(delays(opts)),
		backoff.WithNotify(func(error, time.Duration) { notify() }),
	)
	switch {
	case err == nil:
		return v, nil
	case wanted: // and yet there was no further attempt: ctx ended
		return v, fmt.Errorf("gave up before another attempt: %w; last error: %w", context.Cause(ctx), last)
	}
	return v, last
}

// capped keeps a jittered delay within the maximum, which the library applies
// before the jitter only.
type capped struct {
	backoff.BackOff
	max time.Duration
}

func (c capped) NextBackOff() time.Duration { return min(c.BackOff.NextBackOff(), c.max) }

func delays(opts config.Retry) backoff.BackOff {
	return capped{max: opts.MaxDelay, BackOff: &backoff.ExponentialBackOff{
		InitialInterval:     opts.InitialDelay,
		RandomizationFactor: opts.Jitter,
		Multiplier:          opts.Base,
		MaxInterval:         opts.MaxDelay,
	}}
}
