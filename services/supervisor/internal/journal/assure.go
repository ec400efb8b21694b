package journal

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/internal/shell"
)

// assure makes sure, after the connection was lost, that the log still has the
// tree's last message and the last one that Follow has read: a server that lost power,
// or got a backup back, may have lost what it acknowledged. It gives the same places to
// other messages then, so the places alone do not tell, and those that Follow is past
// would never be read. The error is ErrSuperseded when one is lost.
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
		if has && err == nil {
			has, err = j.hasFollowed(ctx, reconnects)
		}
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

// hasFollowed reports whether the log still has the message that Follow had read last,
// or has outlived it.
func (j *Journal) hasFollowed(ctx context.Context, reconnects uint64) (bool, error) {
	was := j.followed.Load()
	if was == nil {
		return true, nil
	}
	msg, err := j.readMessage(ctx, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		return j.stream.GetMsg(ctx, was.sequence)
	})
	if err != nil {
		return false, err
	}
	has := msg != nil && msg.Header.Get(jetstream.MsgIDHeader) == was.id
	if msg == nil {
		log, err := j.state(ctx)
		if err != nil {
			return false, err
		}
		has = log.FirstSeq > was.sequence
	}
	if has {
		j.followed.CompareAndSwap(was, &place{was.sequence, was.id, reconnects})
	}
	return has, nil
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
