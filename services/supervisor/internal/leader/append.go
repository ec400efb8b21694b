package leader

import (
	"strconv"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// Append is a decision on its way into the log, in one or several messages that
// count together. Each is accepted only if the tree's last message is the one
// expected: that is what keeps two supervisors from both deciding.
type Append struct {
	id          string
	parts, next int
	last        uint64
}

// NewAppend begins to store a decision in some messages. Last is the place in
// the log of the tree's last message, 0 for none.
func NewAppend(id string, parts int, last uint64) *Append {
	return &Append{id: id, parts: parts, last: last}
}

// Message is the next message to store: its place in the decision, its id, and
// the tree's last message that it must follow.
type Message struct {
	Part int
	ID   string
	// Follow is 0 where the log has no message of the tree. Another supervisor may have
	// decided, and the log have forgotten that. So the message must then follow the
	// log's last of all, as it was before this supervisor made sure that no other has
	// had the lease.
	Follow uint64
}

// Next returns the next message to store, or false when all are.
func (a *Append) Next() (Message, bool) {
	if a.next == a.parts {
		return Message{}, false
	}
	return Message{Part: a.next, ID: PartID(a.id, a.next), Follow: a.last}, true
}

// Last is the place in the log of the tree's last message, as far as known.
func (a *Append) Last() uint64 { return a.last }

// LastID is the id of the message at Last, empty while none of this append is
// stored.
func (a *Append) LastID() string {
	if a.next == 0 {
		return ""
	}
	return PartID(a.id, a.next-1)
}

// Stored tells where the next message is in the log.
func (a *Append) Stored(sequence uint64) { a.last, a.next = sequence, a.next+1 }

// Refusal is what it means that the log refused a message.
type Refusal uint8

// Refusals.
const (
	// Superseded: another supervisor has decided about the tree, or the log has
	// lost its tail. The tree must be read again.
	Superseded Refusal = iota
	// Answered: an earlier attempt was stored and its answer lost.
	Answered
	// Forgotten: the log has no message of the tree and begins behind the last, as
	// messages are kept for a limited time, or it had none before and others have
	// stored something. The message is to be stored as if it were the first.
	Forgotten
)

// Refused tells that the log refused the next message, what it holds as the tree's
// last (its place and its id, or 0), and where the log begins: one that begins before
// the tree's last message and does not have it has lost it. Unless it is superseded
// the append continues.
func (a *Append) Refused(sequence uint64, id string, begin uint64) Refusal {
	switch {
	case sequence == 0 && (a.last == 0 || begin > a.last):
		a.last = 0
		return Forgotten
	case sequence > 0 && id == PartID(a.id, a.next):
		a.Stored(sequence)
		return Answered
	}
	return Superseded
}

// PartID is the id of a decision's message: the first has the decision's own.
func PartID(decision string, part int) string {
	if part == 0 {
		return decision
	}
	return contracts.DerivedID(decision, strconv.Itoa(part))
}
