package main

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/mistersmith/mistersmith/internal/config/lint"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// outlook is what becomes of an agent that crashes whenever it has come up.
type outlook struct {
	Agent      string             `json:"agent"`
	Alike      int                `json:"alike"`
	Supervisor string             `json:"supervisor"`
	Restarts   float64            `json:"restarts"`
	Endless    bool               `json:"endless"`
	After      contracts.Duration `json:"after"`
	// Slowest is After where all that stops with the agent takes all its time,
	// StopsWithin how long each of that may take at most, and FailsWithin how late
	// failures may come, for it to end as the message says first.
	Slowest     contracts.Duration  `json:"slowest,omitempty"`
	StopsWithin *contracts.Duration `json:"stops_within,omitempty"`
	FailsWithin contracts.Duration  `json:"fails_within,omitempty"`
	Message     string              `json:"message"`
}

func outlooksOf(all []lint.Outlook) []outlook {
	out := make([]outlook, len(all))
	for i, o := range all {
		out[i] = outlook{
			Agent: o.Agent, Alike: o.Alike, Supervisor: o.Supervisor, Restarts: o.Restarts, Endless: o.Endless, After: contracts.Duration(o.After),
			Slowest: contracts.Duration(o.Slowest), FailsWithin: contracts.Duration(o.FailsWithin), Message: o.Message,
		}
		if o.StopsWithin != nil {
			within := contracts.Duration(*o.StopsWithin)
			out[i].StopsWithin = &within
		}
	}
	return out
}

// mostOutlooks is how many are printed.
const mostOutlooks = 10

// printOutlooks prints what becomes of agents that crash again and again.
func printOutlooks(a *app, outlooks []lint.Outlook) error {
	if len(outlooks) == 0 {
		return nil
	}
	var b strings.Builder
	b.WriteString("If an agent crashes whenever it has come up:\n")
	for _, o := range outlooks[:min(len(outlooks), mostOutlooks)] {
		name := o.Agent
		switch o.Alike {
		case 1:
		case 2:
			name += " (or 1 other)"
		default:
			name += fmt.Sprintf(" (or any of %d others)", o.Alike-1)
		}
		b.WriteString(hanging(name+": "+o.Message+".", 80))
	}
	if more := len(outlooks) - mostOutlooks; more > 0 {
		fmt.Fprintf(&b, "  … and %d more; --json has all\n", more)
	}
	_, err := a.stdout.Write([]byte(b.String()))
	return err
}

// hanging breaks a text into lines of a width, indented by 2, from the second by 4.
func hanging(text string, width int) string {
	var b strings.Builder
	line := "  "
	for word := range strings.FieldsSeq(text) {
		if strings.TrimSpace(line) != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			b.WriteString(line + "\n")
			line = "    "
		}
		if strings.TrimSpace(line) != "" {
			line += " "
		}
		line += word
	}
	b.WriteString(line + "\n")
	return b.String()
}
