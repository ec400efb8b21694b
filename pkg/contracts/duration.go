package contracts

import (
	"encoding/json"
	"fmt"
	"time"
)

// Duration is a time.Duration that travels as a Go duration string such as
// "5s" or "1m30s".
type Duration time.Duration

// D gives the duration as a time.Duration.
func (d Duration) D() time.Duration { return time.Duration(d) }

// String is the Go form, such as "1m30s".
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalJSON accepts a duration string; null changes nothing, as with every
// other type.
func (d *Duration) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("a duration is a string such as \"5s\", not %.32s", b)
	}
	return d.UnmarshalText([]byte(s))
}

// UnmarshalText reads a duration without quotes, as on a command line: 5s or 1m30s.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration; write it like 5s or 1m30s", clip(string(text)))
	}
	*d = Duration(v)
	return nil
}
