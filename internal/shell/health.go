package shell

import (
	"encoding/json"
	"net/http"
	"sync"
)

// Health knows which parts of a process serve. The zero value expects nothing
// and is ready.
type Health struct {
	mu      sync.Mutex
	parts   map[string]bool
	changed chan struct{}
	// awaits is why parts do not serve, as far as they say so.
	awaits map[string]string
}

// NewHealth expects the named parts to become ready.
func NewHealth(parts ...string) *Health {
	h := &Health{parts: map[string]bool{}, changed: make(chan struct{})}
	for _, p := range parts {
		h.parts[p] = false
	}
	return h
}

// Ready marks a part as serving.
func (h *Health) Ready(part string) { h.set(part, true) }

// Unready marks a part as not serving: it starts, stops or has lost what it
// needs.
func (h *Health) Unready(part string) { h.set(part, false) }

// Awaits notes why a part does not serve yet.
func (h *Health) Awaits(part, why string) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.awaits == nil {
		h.awaits = map[string]string{}
	}
	h.awaits[part] = why
}

// Why returns why a part does not serve, empty where it has not said so or serves.
func (h *Health) Why(part string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.awaits[part]
}

func (h *Health) set(part string, ready bool) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.parts == nil {
		h.parts = map[string]bool{}
	}
	h.parts[part] = ready
	delete(h.awaits, part)
	if h.changed != nil {
		close(h.changed)
	}
	h.changed = make(chan struct{})
}

// Waiting lists the parts that do not serve, and gives a channel that is
// closed at the next change.
func (h *Health) Waiting() (parts []string, changed <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for p, ready := range h.parts {
		if !ready {
			parts = append(parts, p)
		}
	}
	if h.changed == nil {
		h.changed = make(chan struct{})
	}
	return parts, h.changed
}

// IsReady tells whether a part serves, and gives a channel that is closed at
// the next change.
func (h *Health) IsReady(part string) (ready bool, changed <-chan struct{}) {
	_, changed = h.Waiting()
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.parts[part], changed
}

// ServeHTTP answers 200 when every part serves, else 503; the body lists each.
func (h *Health) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	waiting, _ := h.Waiting()
	h.mu.Lock()
	body, _ := json.Marshal(h.parts)
	h.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if len(waiting) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_, _ = w.Write(append(body, '\n'))
}
