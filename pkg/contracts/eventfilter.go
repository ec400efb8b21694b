package contracts

import (
	"errors"
	"fmt"
	"slices"
)

// Matches tells whether the filter selects an event. Types are compared whole;
// From is included, To is not.
func (f EventFilter) Matches(e Event) bool {
	return (f.From == nil || !e.Time.Before(*f.From)) &&
		(f.To == nil || e.Time.Before(*f.To)) &&
		(f.Entity == "" || f.Entity == e.Entity) &&
		(len(f.Types) == 0 || slices.Contains(f.Types, e.Type)) &&
		(len(f.Sources) == 0 || slices.Contains(f.Sources, e.Source)) &&
		(len(f.Correlations) == 0 || slices.Contains(f.Correlations, e.CorrelationID))
}

// Validate reports why the filter can never match, or nil.
func (f EventFilter) Validate() error {
	var errs []error
	for _, t := range f.Types {
		errs = append(errs, t.Validate())
	}
	if f.Entity != "" {
		errs = append(errs, validateIDs("entity", f.Entity))
	}
	if f.From != nil && f.To != nil && !f.From.Before(*f.To) {
		errs = append(errs, fmt.Errorf("from %s is not before to %s", f.From, f.To))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("event filter: %w", err)
	}
	return nil
}

// Subjects gives the subjects on which all that the filter selects is found.
func (f EventFilter) Subjects() []string {
	entity := f.Entity
	if entity == "" {
		entity = "*"
	}
	if len(f.Types) == 0 {
		return []string{EventPrefix + "*.*." + entity}
	}
	subjects := make([]string, len(f.Types))
	for i, t := range f.Types {
		subjects[i] = EventSubject(t, entity)
	}
	slices.Sort(subjects)
	return slices.Compact(subjects)
}
