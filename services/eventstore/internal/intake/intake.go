// Package intake decides whether a stored message is an event, and if not, why.
// It is pure, and never panics whatever it is given.
package intake

import (
	"encoding/json"
	"fmt"

	"github.com/google/uuid"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// Reason is why a message is no event; it is the last token of the subject on
// which the message is set aside.
type Reason string

// Reasons, in the order in which they are looked for.
const (
	TooLarge        Reason = "too_large"
	NotJSON         Reason = "not_json"
	NotCloudEvent   Reason = "not_cloudevent"
	WrongID         Reason = "wrong_id"
	SubjectMismatch Reason = "subject_mismatch"
	// Invalid is everything else, such as an unknown type.
	Invalid Reason = "invalid"
)

// Reasons lists all reasons in a fixed order.
func Reasons() []Reason {
	return []Reason{TooLarge, NotJSON, NotCloudEvent, WrongID, SubjectMismatch, Invalid}
}

// Rejection is why a message is no event.
type Rejection struct {
	Reason Reason
	Cause  error
}

func (r *Rejection) Error() string { return r.Cause.Error() }
func (r *Rejection) Unwrap() error { return r.Cause }

// Decode reads the event of a message. A message that is none gives a
// *Rejection, which wraps contracts.ErrEvent.
func Decode(subject string, body []byte) (contracts.Event, error) {
	if len(body) > contracts.MaxEventBytes {
		cause := fmt.Errorf("%w on %s: %d bytes; at most %d", contracts.ErrEvent, subject, len(body), contracts.MaxEventBytes)
		return contracts.Event{}, &Rejection{TooLarge, cause}
	}
	e, err := contracts.DecodeEvent(subject, body)
	if err == nil {
		return e, nil
	}
	return contracts.Event{}, &Rejection{classify(subject, body), err}
}

// classify says which of the reasons the refused message has.
func classify(subject string, body []byte) Reason {
	var e contracts.Event
	switch {
	case !json.Valid(body):
		return NotJSON
	case json.Unmarshal(body, &e) != nil || e.SpecVersion != contracts.SpecVersion:
		return NotCloudEvent
	case len(e.ID) != 36 || uuid.Validate(e.ID) != nil:
		return WrongID
	case e.Subject() != subject:
		return SubjectMismatch
	default:
		return Invalid
	}
}
