package journal

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/internal/guard"
)

// patience bounds each attempt at a call.
const patience = 5 * time.Second

// guarded makes a call through a guard, or without one that is nil. What the
// server answers speaks for it, also when it is no.
func guarded[T any](ctx context.Context, g *guard.Guard, op string, call func(context.Context) (T, error)) (T, error) {
	attempt := func(ctx context.Context) (T, error) {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		v, err := call(ctx)
		var refused *jetstream.APIError
		if errors.Is(err, jetstream.ErrMsgNotFound) || errors.Is(err, jetstream.ErrKeyNotFound) || errors.As(err, &refused) && refused.Code < 500 {
			err = guard.Permanent(err)
		}
		return v, err
	}
	if g == nil {
		return attempt(ctx)
	}
	return guard.Do(ctx, g, op, attempt)
}

// bucket is the bucket of snapshots behind its guard. It has one of its own, so
// that it takes nothing from decisions when it does not answer.
type bucket struct {
	kv    jetstream.KeyValue
	guard *guard.Guard
}

func (b bucket) get(ctx context.Context, key string) (jetstream.KeyValueEntry, error) {
	return guarded(ctx, b.guard, "read", func(ctx context.Context) (jetstream.KeyValueEntry, error) { return b.kv.Get(ctx, key) })
}

func (b bucket) put(ctx context.Context, key string, value []byte) error {
	_, err := guarded(ctx, b.guard, "write", func(ctx context.Context) (uint64, error) { return b.kv.Put(ctx, key, value) })
	return err
}

// update stores a value if the key's revision is still that one, 0 if it has none or was
// deleted.
func (b bucket) update(ctx context.Context, key string, value []byte, revision uint64) error {
	_, err := guarded(ctx, b.guard, "write", func(ctx context.Context) (uint64, error) {
		if revision == 0 {
			return b.kv.Create(ctx, key, value)
		}
		return b.kv.Update(ctx, key, value, revision)
	})
	return err
}

func (b bucket) purge(ctx context.Context, key string) error {
	_, err := guarded(ctx, b.guard, "purge", func(ctx context.Context) (struct{}, error) { return struct{}{}, b.kv.Purge(ctx, key) })
	return err
}

// keys lists the keys that match.
func (b bucket) keys(ctx context.Context, match string) ([]string, error) {
	return guarded(ctx, b.guard, "list", func(ctx context.Context) (keys []string, err error) {
		list, err := b.kv.ListKeysFiltered(ctx, match)
		if err != nil {
			return nil, err
		}
		for key := range list.Keys() {
			keys = append(keys, key)
		}
		return keys, ctx.Err() // a list that broke off is shorter, and no error
	})
}
