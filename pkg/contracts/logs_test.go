package contracts

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestLogsRequestValidate(t *testing.T) {
	at, before := int64(5), int64(-1)
	for _, r := range []LogsRequest{
		{Agent: "a"},
		{Agent: "a", Incarnation: 3, At: &at, Wait: Duration(MaxLogsWait)},
		{Agent: "a", Previous: true, Lines: MaxLogsLines, Since: &time.Time{}},
	} {
		if err := r.Validate(); err != nil {
			t.Errorf("%+v: %v", r, err)
		}
	}
	for want, r := range map[string]LogsRequest{
		"agent:":       {Agent: "../x"},
		"incarnation:": {Agent: "a", Incarnation: MaxIncarnation},
		"previous:":    {Agent: "a", Previous: true, At: &at},
		"at:":          {Agent: "a", At: &before},
		"lines:":       {Agent: "a", Lines: -1},
		"wait:":        {Agent: "a", Wait: Duration(time.Hour)},
	} {
		if err := r.Validate(); !errors.Is(err, ErrRunnerCommand) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want something about %s", r, err, want)
		}
	}
}

func TestForgetCommandValidate(t *testing.T) {
	if err := (ForgetCommand{Tree: "main", Agents: []string{"a", "b"}}).Validate(); err != nil {
		t.Error(err)
	}
	for want, c := range map[string]ForgetCommand{
		"tree:":       {Agents: []string{"a"}},
		"agents:":     {Tree: "main", Agents: []string{"a", "../b"}},
		"agents: 100": {Tree: "main", Agents: make([]string, MaxForget+1)},
	} {
		if err := c.Validate(); !errors.Is(err, ErrRunnerCommand) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want something about %s", c.Tree, err, want)
		}
	}
}

func TestParseOutputLine(t *testing.T) {
	at := time.Date(2026, 1, 2, 15, 4, 5, 123e6, time.UTC)
	for _, tag := range []OutputTag{OutputText, OutputRest, OutputNote} {
		line := append(AppendOutputPrefix(nil, at.In(time.FixedZone("", 3600)), tag), "any \x1b\xff text"...)
		got, err := ParseOutputLine(line)
		if err != nil || !got.Time.Equal(at) || got.Tag != tag || string(got.Text) != "any \x1b\xff text" || string(line[:OutputPrefix-1]) != "2026-01-02T15:04:05.123Z" {
			t.Errorf("%q is read as %+v, %v", line, got, err)
		}
	}
	for _, bad := range []string{"", "text", "2026-01-02T15:04:05.123Z", "2026-01-02T15:04:05.123Zx", "2026-99-02T15:04:05.123Z x"} {
		if got, err := ParseOutputLine([]byte(bad)); !errors.Is(err, ErrOutputLine) {
			t.Errorf("%q is read as %+v, %v", bad, got, err)
		}
	}
}

func FuzzParseOutputLine(f *testing.F) {
	f.Add([]byte("2026-01-02T15:04:05.123Z text"))
	f.Add([]byte("2026-01-02T15:04:05.123Z+"))
	f.Fuzz(func(t *testing.T, b []byte) {
		line, err := ParseOutputLine(b)
		if err != nil {
			return
		}
		if again := append(AppendOutputPrefix(nil, line.Time, line.Tag), line.Text...); !bytes.Equal(again, b) {
			t.Fatalf("%q is read as %q", b, again)
		}
	})
}
