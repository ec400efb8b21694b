package journal

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/internal/shell"
)

// assure makes sure, after the connection was lost, that the log still has the
// tree's last message: a server that lost power, or got a backup back, may have lost
// what it acknowledged. It gives the same place to another message then, so the
// place alone does not tell. The error is ErrSuperseded when it is lost.
func (j *Journal) assure(ctx context.Context) error {
	if err := j.connected(ctx); err != nil {
		return err
	}
	reconnects := j.env.NC.Stats().Reconnects
	if reconnects == j.assured {
		return nil
	}
	const tries, wait = 5, 200 * time.Millisecond
	for try := 1; ; try++ {
		has, err := j.has(ctx)
		switch {
		case err != nil:
			return err
		case has:
			j.assured = reconnects
			return nil
		case try == tries:
			return ErrSuperseded
		}
		// A replica may be late.
		if err := shell.Pause(ctx, wait); err != nil {
			return err
		}
	}
}

// has reports whether the log still has the tree's last message, or has outlived
// it. A later one, which may be this side's own, is left to the next append.
func (j *Journal) has(ctx context.Context) (bool, error) {
	last, err := j.lastMessage(ctx)
	switch {
	case err != nil:
		return false, err
	case last == nil:
		log, err := j.state(ctx)
		return err == nil && j.outlived(log), err
	case last.Sequence != j.last:
		return last.Sequence > j.last, nil
	}
	return j.lastID == "" || last.Header.Get(jetstream.MsgIDHeader) == j.lastID, nil
}

// outlived reports whether a log that does not have the tree's last message has
// forgotten it, as what is old, and not lost it.
func (j *Journal) outlived(log jetstream.StreamState) bool {
	return j.last == 0 || log.FirstSeq > j.last
}

// knows notes what the log has, as it was loaded.
func (j *Journal) knows(last *jetstream.RawStreamMsg) {
	j.lastID = ""
	if last != nil && last.Sequence == j.last {
		j.lastID = last.Header.Get(jetstream.MsgIDHeader)
	}
}
