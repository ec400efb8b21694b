package contracts

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	encoding "github.com/segmentio/encoding/json"
)

// ContentType is what the Content-Type header of an event's message says.
const ContentType = "application/cloudevents+json"

// SpecVersion is the version of CloudEvents that events follow.
const SpecVersion = "1.0"

// ErrEvent tells that a message is not a valid event.
var ErrEvent = errors.New("invalid event")

// Event is something that happened: a CloudEvents 1.0 object in structured
// mode, published on EventSubject(Type, Entity) with its ID as Nats-Msg-Id.
type Event struct {
	SpecVersion string `json:"specversion" jsonschema:"enum=1.0"`
	// ID is a UUID, version 7 unless it is derived from what it reports.
	ID string `json:"id"`
	// Source is who says so, as "<service>/<instance>" or "agent/<agent>".
	Source string    `json:"source"`
	Type   EventType `json:"type"`
	// Entity is whom it is about: the last token of the NATS subject. For
	// task events it is the task's type, because an id of its own in every
	// subject costs the server memory; the task's id is the correlation id.
	Entity string `json:"subject"`
	// Time is when it happened, in UTC.
	Time            time.Time       `json:"time"`
	DataContentType string          `json:"datacontenttype,omitempty"`
	DataSchema      string          `json:"dataschema,omitempty"`
	Data            json.RawMessage `json:"data,omitempty"`
	// CorrelationID is shared by all events of one story: the id of the first
	// failure, or of the task.
	CorrelationID string `json:"correlationid,omitempty"`
	// CausationID is the id of the event that led to this one.
	CausationID string `json:"causationid,omitempty"`
	TraceParent string `json:"traceparent,omitempty"`
}

// NewEvent builds an event of a type about an entity at the given time. Unless
// overridden it has a new id and starts a story of its own: its correlation id
// is its id.
func NewEvent(source string, t EventType, entity string, now time.Time) *EventBuilder {
	return &EventBuilder{event: Event{SpecVersion: SpecVersion, Source: source, Type: t, Entity: entity, Time: now.UTC()}}
}

// EventBuilder makes an Event step by step; Build checks it.
type EventBuilder struct {
	event Event
	err   error
}

// ID sets the id, for events that must have the same one when sent again; empty
// changes nothing.
func (b *EventBuilder) ID(id string) *EventBuilder {
	b.event.ID = id
	return b
}

// Correlation sets the story this event belongs to; empty changes nothing.
func (b *EventBuilder) Correlation(id string) *EventBuilder {
	if id != "" {
		b.event.CorrelationID = id
	}
	return b
}

// Causation names the event that led to this one; empty changes nothing.
func (b *EventBuilder) Causation(id string) *EventBuilder {
	if id != "" {
		b.event.CausationID = id
	}
	return b
}

// CausedBy continues the story of another event.
func (b *EventBuilder) CausedBy(cause Event) *EventBuilder {
	return b.Causation(cause.ID).Correlation(cause.CorrelationID)
}

// TraceParent sets the W3C trace context.
func (b *EventBuilder) TraceParent(tp string) *EventBuilder {
	b.event.TraceParent = tp
	return b
}

// Data sets the payload; v becomes JSON.
func (b *EventBuilder) Data(v any) *EventBuilder {
	raw, err := json.Marshal(v)
	if err != nil {
		b.err = fmt.Errorf("%w %s about %s: data of type %T: %w", ErrEvent, b.event.Type, b.event.Entity, v, err)
		return b
	}
	b.event.Data, b.event.DataContentType = raw, "application/json"
	return b
}

// JSON sets the payload to what is JSON already. It must be valid and compact,
// as json.Marshal writes it: nobody looks at it again.
func (b *EventBuilder) JSON(raw []byte) *EventBuilder {
	b.event.Data, b.event.DataContentType = raw, "application/json"
	return b
}

// Encode is Build and [Event.Encode] together. It costs less: the data, which
// the builder has made, is not gone through once more.
func (b *EventBuilder) Encode() (Event, []byte, error) {
	var data func([]byte) ([]byte, error)
	if len(b.event.Data) > 0 {
		data = func(to []byte) ([]byte, error) { return append(to, b.event.Data...), nil }
	}
	return b.encode(make([]byte, 0, bareBytes+len(b.event.Data)), data)
}

// EncodeTo is [EventBuilder.Encode] for a large payload: data appends its JSON, which
// must be valid and compact, to the event's. The result is written into the memory of
// to, as far as there is room. The event is returned without its data.
func (b *EventBuilder) EncodeTo(to []byte, data func([]byte) ([]byte, error)) (Event, []byte, error) {
	b.event.Data, b.event.DataContentType = nil, "application/json"
	return b.encode(to[:0], data)
}

// bareBytes is room for an event without data.
const bareBytes = 512

// encode appends the event's JSON, with the data that a function appends if there is
// one.
func (b *EventBuilder) encode(to []byte, data func([]byte) ([]byte, error)) (Event, []byte, error) {
	ev, err := b.Build()
	if err != nil {
		return Event{}, nil, err
	}
	bare := ev
	bare.Data = nil
	raw, err := encoding.Append(to, bare, 0)
	if err == nil && data != nil {
		raw, err = data(append(raw[:len(raw)-1], `,"data":`...))
		raw = append(raw, '}')
	}
	if err != nil {
		return Event{}, nil, fmt.Errorf("%w %s: %w", ErrEvent, ev.ID, err)
	}
	if err := ev.checkSize(len(raw)); err != nil {
		return Event{}, nil, err
	}
	return ev, raw, nil
}

// Build gives the finished event, or what is wrong with it.
func (b *EventBuilder) Build() (Event, error) {
	if b.err != nil {
		return Event{}, b.err
	}
	if b.event.ID == "" {
		b.event.ID = uuid.Must(uuid.NewV7()).String()
	}
	if b.event.CorrelationID == "" {
		b.event.CorrelationID = b.event.ID
	}
	return b.event, b.event.Validate()
}

// Subject is where the event is published.
func (e Event) Subject() string { return EventSubject(e.Type, e.Entity) }

// Validate reports why the event is not valid, or nil.
func (e Event) Validate() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if e.SpecVersion != SpecVersion {
		add("specversion: %.16q; must be %q", e.SpecVersion, SpecVersion)
	}
	if _, err := uuid.Parse(e.ID); err != nil || len(e.ID) != 36 {
		add("id: %.80q is not a UUID", e.ID)
	}
	if e.Source == "" || len(e.Source) > MaxSourceBytes || !isPrintable(e.Source) {
		add("source: %q must have 1 to %d characters of ASCII without spaces, such as agent/worker-1", clip(e.Source), MaxSourceBytes)
	}
	if err := e.Type.Validate(); err != nil {
		add("type: %w", err)
	}
	if err := ValidateID(e.Entity); err != nil {
		add("subject: %w", err)
	}
	if e.Time.IsZero() {
		add("time: missing; use RFC 3339 in UTC")
	} else if y := e.Time.UTC().Year(); y < 0 || y > 9999 {
		add("time: the year %d cannot be written in RFC 3339", y)
	}
	errs = append(errs, validateReference("correlationid", e.CorrelationID),
		validateReference("causationid", e.CausationID), validateReference("traceparent", e.TraceParent))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("%w: %w", ErrEvent, err)
	}
	return nil
}

// Encode gives the event's JSON, or ErrEvent when it is too large.
func (e Event) Encode() ([]byte, error) {
	// Escaping for HTML would make six bytes of one and an event that came in
	// could be too large to be passed on.
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		return nil, fmt.Errorf("%w %s: %w", ErrEvent, e.ID, err)
	}
	raw := bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
	if err := e.checkSize(len(raw)); err != nil {
		return nil, err
	}
	return raw, nil
}

func (e Event) checkSize(size int) error {
	if size > MaxEventBytes {
		return fmt.Errorf("%w %s of type %s about %s: %d bytes; at most %d", ErrEvent, e.ID, e.Type, e.Entity, size, MaxEventBytes)
	}
	return nil
}

// DecodeEvent reads an event. With a subject it also checks that type and
// entity are those the subject names; pass "" to skip that.
func DecodeEvent(subject string, body []byte) (Event, error) {
	var e Event
	if err := decodeEvent(subject, body, &e, &e); err != nil {
		return Event{}, err
	}
	return e, nil
}

// DecodeEventAs is [DecodeEvent] and [DecodeData] together, for an event whose
// type is known beforehand. It costs less: the data is gone through once. The
// event comes without it.
func DecodeEventAs[T any](subject string, body []byte) (Event, T, error) {
	var whole struct {
		Event
		Data T `json:"data"`
	}
	if err := decodeEvent(subject, body, &whole, &whole.Event); err != nil {
		// Is it the event, or its data?
		e, bad := DecodeEvent(subject, body)
		if bad != nil {
			var none T
			return Event{}, none, bad
		}
		data, err := DecodeData[T](e)
		e.Data = nil
		return e, data, err
	}
	return whole.Event, whole.Data, nil
}

// decodeEvent reads an event into v, of which e is the part to check.
func decodeEvent(subject string, body []byte, v any, e *Event) error {
	if len(body) > MaxEventBytes {
		return fmt.Errorf("%w%s: %d bytes; at most %d", ErrEvent, on(subject), len(body), MaxEventBytes)
	}
	if err := decodeObject(body, v); err != nil {
		return fmt.Errorf("%w%s: not CloudEvents JSON: %w", ErrEvent, on(subject), err)
	}
	if err := e.Validate(); err != nil {
		return fmt.Errorf("%w%s", err, on(subject))
	}
	if subject != "" && e.Subject() != subject {
		return fmt.Errorf("%w%s: type %s and subject %s belong on %s", ErrEvent, on(subject), e.Type, e.Entity, e.Subject())
	}
	e.Time = e.Time.UTC()
	return nil
}

// on names the subject in an error, if there is one.
func on(subject string) string {
	if subject == "" {
		return ""
	}
	return " on " + clip(subject)
}

// DecodeData reads the event's payload into a T. Unknown fields are ignored.
func DecodeData[T any](e Event) (T, error) {
	var v T
	if len(bytes.TrimSpace(e.Data)) == 0 {
		return v, nil
	}
	if err := decode(e.Data, &v); err != nil {
		return v, fmt.Errorf("%w %s of type %s: data: %w", ErrEvent, e.ID, e.Type, err)
	}
	return v, nil
}

// DerivedID gives an id that is always the same for the same parts: for events
// that may be sent again and must not be stored twice (RFC 9562, version 5).
func DerivedID(parts ...string) string {
	var buf bytes.Buffer
	for _, p := range parts {
		fmt.Fprintf(&buf, "%d:%s", len(p), p)
	}
	return uuid.NewSHA1(uuid.NameSpaceOID, buf.Bytes()).String()
}
