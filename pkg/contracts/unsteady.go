package contracts

import (
	"fmt"
	"time"
)

// Unsteady says how often a node was restarted since it last ran for its reset_after,
// without which the time_window of its supervisor counts.
type Unsteady struct {
	Restarts int `json:"restarts"`
	// Last is when the last of these restarts was decided, and Reason is how the node
	// had ended. It may quote what agents print.
	Last   time.Time `json:"last"`
	Reason string    `json:"reason,omitempty"`
	// Steady is when the node is steady if it continues to run; absent while it comes
	// up.
	Steady *time.Time `json:"steady,omitempty"`
}

// Text returns it in a few words, such as "restarted 34 times, last 2s ago: exited
// with code 7".
func (u Unsteady) Text(now time.Time) string {
	text := fmt.Sprintf("restarted %d times, last", u.Restarts)
	if u.Restarts == 1 {
		text = "restarted once,"
	}
	text += fmt.Sprintf(" %s ago", max(0, now.Sub(u.Last)).Round(time.Second))
	if u.Reason != "" {
		text += ": " + u.Reason
	}
	return text
}
