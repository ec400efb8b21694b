package contracts

import (
	"errors"
	"fmt"
)

// MaxIDLength bounds every id: agents, runners, trees, nodes and task types.
const MaxIDLength = 64

// ErrInvalidID tells that a string cannot be an id. The wrapped message says
// what is wrong with it.
var ErrInvalidID = errors.New("invalid id")

// ValidateID reports why s is not an id, or nil. An id is one NATS token made
// of letters, digits, '_' and '-', of 1 to MaxIDLength bytes, so that it can
// stand in a subject and in a file name unescaped.
func ValidateID(s string) error {
	if s == "" {
		return fmt.Errorf("%w: it is empty; use 1 to %d of A-Z a-z 0-9 _ -", ErrInvalidID, MaxIDLength)
	}
	if len(s) > MaxIDLength {
		return fmt.Errorf("%w: %q… has %d bytes; at most %d are allowed", ErrInvalidID, s[:16], len(s), MaxIDLength)
	}
	for i := range len(s) {
		if !isIDByte(s[i]) {
			return fmt.Errorf("%w: %q has %q at byte %d; only A-Z a-z 0-9 _ - are allowed", ErrInvalidID, s, s[i], i)
		}
	}
	return nil
}

func isIDByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}

// validateReference checks a correlation id, causation id or trace context:
// any short text that is safe in a header, a log line and an index key.
func validateReference(name, s string) error {
	if len(s) > MaxReferenceBytes || !isPrintable(s) {
		return fmt.Errorf("%s: %q must have at most %d characters of ASCII without spaces", name, clip(s), MaxReferenceBytes)
	}
	return nil
}

// isPrintable tells whether s is ASCII without spaces and control characters.
func isPrintable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// validateIDs checks named ids and joins every complaint.
func validateIDs(pairs ...string) error {
	var errs []error
	for i := 0; i+1 < len(pairs); i += 2 {
		if err := ValidateID(pairs[i+1]); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", pairs[i], err))
		}
	}
	return errors.Join(errs...)
}
