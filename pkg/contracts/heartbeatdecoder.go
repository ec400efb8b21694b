package contracts

import (
	"math"
	"time"
)

// HeartbeatDecoder reads very many heartbeats, as [DecodeHeartbeat] does, but
// without making garbage when they have the usual form: an object of known
// fields, each once, without escapes. Whatever else there is takes the long way.
//
// The zero value is ready. It is not safe for concurrent use.
type HeartbeatDecoder struct {
	// What agents said before, by the text of it: many agents say the same.
	// When there is too much of a kind, it is all forgotten.
	ids       map[string]string
	lists     map[string][]string
	intervals map[string]Duration
	until     time.Time
}

// maxRemembered bounds each kind.
const maxRemembered = 1024

// Decode reads a heartbeat. What it points to is not to be changed; BusyUntil
// is valid until the next call.
func (d *HeartbeatDecoder) Decode(body []byte) (Heartbeat, error) {
	h := Heartbeat{}
	if len(body) == 0 || len(body) <= MaxHeartbeatBytes && d.read(&h, body) {
		return h, nil
	}
	return DecodeHeartbeat(body)
}

// read takes the short way; it gives up on anything that is not plainly valid.
func (d *HeartbeatDecoder) read(h *Heartbeat, body []byte) bool {
	t := text{rest: body}
	if !t.take('{') {
		return false
	}
	if t.take('}') {
		return t.end()
	}
	for seen := uint(0); ; {
		key, ok := t.word()
		if !ok || !t.take(':') {
			return false
		}
		bit, ok := d.field(h, &t, key)
		if !ok || seen&bit != 0 {
			return false
		}
		seen |= bit
		if t.take(',') {
			continue
		}
		return t.take('}') && t.end()
	}
}

// field reads the value of a field, and gives a bit that tells the field.
func (d *HeartbeatDecoder) field(h *Heartbeat, t *text, key []byte) (bit uint, ok bool) {
	switch string(key) {
	case "incarnation":
		h.Incarnation, ok = t.number()
		return 1, ok
	case "seq":
		h.Seq, ok = t.number()
		return 2, ok
	case "interval":
		h.Interval, ok = d.interval(t)
		return 4, ok
	case "type":
		h.Type, ok = d.id(t)
		return 8, ok
	case "capabilities":
		h.Capabilities, ok = d.list(t)
		return 16, ok
	case "status":
		h.Status, ok = t.status()
		return 32, ok
	case "in_flight":
		h.InFlight, ok = t.tasks()
		return 64, ok
	case "capacity":
		h.Capacity, ok = t.tasks()
		return 128, ok
	case "progress":
		h.Progress, ok = t.number()
		return 256, ok
	case "busy_until":
		h.BusyUntil, ok = &d.until, d.time(t)
		return 512, ok
	case "runner":
		h.Runner, ok = d.id(t)
		return 1024, ok
	}
	return 0, false
}

func (d *HeartbeatDecoder) id(t *text) (string, bool) {
	word, ok := t.word()
	if !ok {
		return "", false
	}
	if id, known := d.ids[string(word)]; known {
		return id, true
	}
	id := string(word)
	if ValidateID(id) != nil {
		return "", false
	}
	remember(&d.ids, id, id)
	return id, true
}

func remember[T any](known *map[string]T, text string, value T) {
	if *known == nil || len(*known) >= maxRemembered {
		*known = map[string]T{}
	}
	(*known)[text] = value
}

func (d *HeartbeatDecoder) interval(t *text) (Duration, bool) {
	word, ok := t.word()
	if !ok {
		return 0, false
	}
	if interval, known := d.intervals[string(word)]; known {
		return interval, true
	}
	v, err := time.ParseDuration(string(word))
	if err != nil || v != 0 && (v < MinHeartbeatInterval || v > MaxHeartbeatInterval) {
		return 0, false
	}
	remember(&d.intervals, string(word), Duration(v))
	return Duration(v), true
}

func (d *HeartbeatDecoder) list(t *text) ([]string, bool) {
	from := t.rest
	if !t.take('[') {
		return nil, false
	}
	for first := true; !t.take(']'); first = false {
		if !first && !t.take(',') {
			return nil, false
		}
		if _, ok := t.word(); !ok {
			return nil, false
		}
	}
	from = from[:len(from)-len(t.rest)]
	if list, known := d.lists[string(from)]; known {
		return list, true
	}
	list := []string{}
	again := text{rest: from}
	for again.take('['); !again.take(']'); again.take(',') {
		word, _ := again.word()
		list = append(list, string(word))
	}
	if validateCapabilities(list) != nil {
		return nil, false
	}
	remember(&d.lists, string(from), list)
	return list, true
}

func (d *HeartbeatDecoder) time(t *text) bool {
	word, ok := t.word()
	return ok && d.until.UnmarshalText(word) == nil
}

// text is what is left to read of a JSON text.
type text struct{ rest []byte }

func (t *text) space() {
	for len(t.rest) > 0 && (t.rest[0] == ' ' || t.rest[0] == '\n' || t.rest[0] == '\t' || t.rest[0] == '\r') {
		t.rest = t.rest[1:]
	}
}

// take reads a sign, if it is next, and the space around it.
func (t *text) take(sign byte) bool {
	t.space()
	if len(t.rest) == 0 || t.rest[0] != sign {
		return false
	}
	t.rest = t.rest[1:]
	return true
}

func (t *text) end() bool {
	t.space()
	return len(t.rest) == 0
}

// word reads a string of printable ASCII without escapes.
func (t *text) word() ([]byte, bool) {
	if !t.take('"') {
		return nil, false
	}
	for i, c := range t.rest {
		switch {
		case c == '"':
			word := t.rest[:i]
			t.rest = t.rest[i+1:]
			return word, true
		case c < ' ' || c > '~' || c == '\\':
			return nil, false
		}
	}
	return nil, false
}

// number reads a whole number.
func (t *text) number() (n uint64, ok bool) {
	t.space()
	i := 0
	for ; i < len(t.rest) && t.rest[i] >= '0' && t.rest[i] <= '9'; i++ {
		if n > (math.MaxUint64-9)/10 {
			return 0, false
		}
		n = 10*n + uint64(t.rest[i]-'0')
	}
	if i == 0 || i > 1 && t.rest[0] == '0' {
		return 0, false
	}
	t.rest = t.rest[i:]
	return n, true
}

func (t *text) tasks() (int, bool) {
	n, ok := t.number()
	return int(min(n, MaxCapacity)), ok && n <= MaxCapacity
}

func (t *text) status() (AgentStatus, bool) {
	word, ok := t.word()
	if !ok {
		return "", false
	}
	for _, s := range [...]AgentStatus{StatusRunning, StatusBusy, StatusDegraded, StatusStuck, StatusStopping, StatusStopped, ""} {
		if string(s) == string(word) {
			return s, true
		}
	}
	return "", false
}
