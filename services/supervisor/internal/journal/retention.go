package journal

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/leader"
)

// retentionWithin bounds how long the stream's state is waited for.
const retentionWithin = 2 * time.Second

// Retention returns how much the log keeps and what it holds now.
func (j *Journal) Retention(ctx context.Context) (leader.Retention, error) {
	ctx, cancel := context.WithTimeout(ctx, retentionWithin)
	defer cancel()
	info, err := guarded(ctx, j.guard, "info", func(ctx context.Context) (*jetstream.StreamInfo, error) { return j.stream.Info(ctx) })
	if err != nil {
		return leader.Retention{}, fmt.Errorf("read the state of stream %s: %w", contracts.EventStream, err)
	}
	return leader.Retention{
		MaxAge: info.Config.MaxAge, MaxBytes: info.Config.MaxBytes, MaxMsgs: info.Config.MaxMsgs,
		Bytes: int64(info.State.Bytes), Msgs: int64(info.State.Msgs), FirstSeq: info.State.FirstSeq, LastSeq: info.State.LastSeq,
	}, nil
}
