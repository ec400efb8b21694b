// Package query answers questions about stored events: by id, by story, by
// time, type, source and entity. Types and entities are the stream's own to
// select; ids and correlation ids are found through the index; the rest is
// looked through, within bounds.
package query

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// ErrFilter tells that a question cannot be meant.
var ErrFilter = errors.New("invalid filter")

// maxValues bounds each list of a filter.
const maxValues = 64

// Filter selects events; the zero value selects all.
type Filter struct {
	from, to     time.Time
	types        []contracts.EventType
	sources      []string
	entity       string
	correlations []string
}

// NewFilter checks what was asked for, and reports everything that is wrong
// with it at once. Types may come with or without their leading "smith.".
func NewFilter(f contracts.EventFilter) (Filter, error) {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	out := Filter{entity: f.Entity, sources: f.Sources}
	if f.From != nil {
		out.from = *f.From
	}
	if f.To != nil {
		out.to = *f.To
	}
	if f.From != nil && f.To != nil && !out.from.Before(out.to) {
		add("from %s is not before to %s", out.from.Format(time.RFC3339Nano), out.to.Format(time.RFC3339Nano))
	}
	for _, t := range f.Types {
		parsed, err := contracts.ParseEventType(string(t))
		if err != nil {
			add("types: %w", err)
		} else if !slices.Contains(out.types, parsed) {
			out.types = append(out.types, parsed)
		}
	}
	for _, c := range f.Correlations {
		if c == "" || len(c) > 128 {
			add("correlations: %.40q is not an id; use 1 to 128 bytes", c)
		} else if !slices.Contains(out.correlations, c) {
			out.correlations = append(out.correlations, c)
		}
	}
	if f.Entity != "" {
		if err := contracts.ValidateID(f.Entity); err != nil {
			add("entity: %w", err)
		}
	}
	for name, n := range map[string]int{"types": len(f.Types), "sources": len(f.Sources), "correlations": len(f.Correlations)} {
		if n > maxValues {
			add("%s: %d values; at most %d", name, n, maxValues)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return Filter{}, fmt.Errorf("%w: %w", ErrFilter, err)
	}
	return out, nil
}

// Match tells whether the filter selects an event. Its time is the event's own,
// from inclusive to exclusive.
func (f Filter) Match(e contracts.Event) bool {
	return (f.from.IsZero() || !e.Time.Before(f.from)) &&
		(f.to.IsZero() || e.Time.Before(f.to)) &&
		(len(f.types) == 0 || slices.Contains(f.types, e.Type)) &&
		(f.entity == "" || f.entity == e.Entity) &&
		(len(f.correlations) == 0 || slices.Contains(f.correlations, e.CorrelationID)) &&
		(len(f.sources) == 0 || slices.ContainsFunc(f.sources, func(s string) bool { return fromSource(e.Source, s) }))
}

// fromSource compares a source whole, or by its kind alone: "detector" is every
// instance of it.
func fromSource(source, want string) bool {
	if source == want {
		return true
	}
	kind, _, found := strings.Cut(source, "/")
	return found && kind == want
}

// timed tells whether the filter looks at time.
func (f Filter) timed() bool { return !f.from.IsZero() || !f.to.IsZero() }

// subjects are the subjects on which all events that match are; none means any.
func (f Filter) subjects() []string {
	entity := f.entity
	if entity == "" {
		entity = "*"
	}
	if len(f.types) == 0 {
		if f.entity == "" {
			return nil
		}
		return []string{contracts.EventPrefix + "*.*." + entity}
	}
	var subjects []string
	for _, t := range f.types {
		subjects = append(subjects, contracts.EventSubject(t, entity))
	}
	return subjects
}
