package contracts

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
)

func startCommand() StartCommand {
	return StartCommand{
		Agent: "worker-1", Incarnation: 3, Command: []string{"./agent", "--flag", ""}, Env: map[string]string{"KEY": "a=b\nc"},
		Type: "researcher", Capabilities: []string{"web"}, Capacity: 4, Heartbeats: HeartbeatsByAgent, CausationID: aCause, CorrelationID: aCause,
	}
}

func TestStartCommandValidate(t *testing.T) {
	for _, c := range []StartCommand{
		startCommand(),
		{Agent: "a", Incarnation: 1, Command: []string{"true"}},
		{Agent: "a", Incarnation: 1, Command: []string{"true"}, Heartbeats: HeartbeatsByRunner},
	} {
		if err := c.Validate(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
	manyVars := map[string]string{}
	for i := range MaxEnvVars + 1 {
		manyVars[fmt.Sprintf("V%d", i)] = ""
	}
	for name, c := range map[string]struct {
		want  string
		spoil func(*StartCommand)
	}{
		"no agent":         {"agent:", func(c *StartCommand) { c.Agent = "" }},
		"agent with dots":  {"agent:", func(c *StartCommand) { c.Agent = "../../etc" }},
		"no incarnation":   {"incarnation:", func(c *StartCommand) { c.Incarnation = 0 }},
		"little output":    {"output.max_bytes:", func(c *StartCommand) { c.Output = &OutputLimits{MaxBytes: 9} }},
		"no command":       {"command:", func(c *StartCommand) { c.Command = nil }},
		"empty program":    {"command:", func(c *StartCommand) { c.Command = []string{"", "x"} }},
		"many arguments":   {"command:", func(c *StartCommand) { c.Command = make([]string, MaxCommandArgs+1) }},
		"NUL in argument":  {"command[1]:", func(c *StartCommand) { c.Command = []string{"a", "b\x00"} }},
		"many variables":   {"env:", func(c *StartCommand) { c.Env = manyVars }},
		"empty variable":   {"env:", func(c *StartCommand) { c.Env = map[string]string{"": "x"} }},
		"= in variable":    {"env:", func(c *StartCommand) { c.Env = map[string]string{"A=B": "x"} }},
		"NUL in value":     {"env:", func(c *StartCommand) { c.Env = map[string]string{"A": "\x00"} }},
		"NUL in directory": {"dir:", func(c *StartCommand) { c.Dir = "a\x00b" }},
		"type of tokens":   {"type:", func(c *StartCommand) { c.Type = "a.b" }},
		"bad capability":   {"capabilities[0]:", func(c *StartCommand) { c.Capabilities = []string{"*"} }},
		"capacity":         {"capacity:", func(c *StartCommand) { c.Capacity = -1 }},
		"short interval":   {"heartbeat_interval:", func(c *StartCommand) { c.HeartbeatInterval = 1 }},
		"deadline":         {"start_deadline", func(c *StartCommand) { c.StartDeadline = -1 }},
		"shutdown":         {"shutdown_timeout", func(c *StartCommand) { c.ShutdownTimeout = -1 }},
		"who beats":        {"heartbeats:", func(c *StartCommand) { c.Heartbeats = "nobody" }},
		"long cause":       {"causationid:", func(c *StartCommand) { c.CausationID = strings.Repeat("x", 200) }},
		"boot id":          {"boot_id:", func(c *StartCommand) { c.BootID = "a b" }},
		"passed variable":  {"pass_env: variables that begin with SMITH_", func(c *StartCommand) { c.PassEnv = []string{"SMITH_AGENT"} }},
		"variable's value": {`pass_env: "A=b" cannot be`, func(c *StartCommand) { c.PassEnv = []string{"A=b"} }},
		"NUL in file":      {"env_file:", func(c *StartCommand) { c.EnvFile = "\x00" }},
		"user":             {"user:", func(c *StartCommand) { c.User = "a b" }},
		"group":            {"group:", func(c *StartCommand) { c.Group = "4294967295" }},
		"umask":            {"umask:", func(c *StartCommand) { c.Umask = "1000" }},
		"nice":             {"nice:", func(c *StartCommand) { c.Nice = new(int); *c.Nice = 20 }},
		"little memory":    {"limits.memory:", func(c *StartCommand) { c.Limits = &ProcessLimits{Memory: 64} }},
		"no number of CPU": {"limits.cpu:", func(c *StartCommand) { c.Limits = &ProcessLimits{CPU: math.NaN()} }},
		"open files":       {"limits.open_files:", func(c *StartCommand) { c.Limits = &ProcessLimits{OpenFiles: -1} }},
		"long story":       {"correlationid:", func(c *StartCommand) { c.CorrelationID = strings.Repeat("x", 200) }},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := startCommand()
			c.spoil(&cmd)
			if err := cmd.Validate(); !errors.Is(err, ErrRunnerCommand) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("err = %v, want ErrRunnerCommand naming %q", err, c.want)
			}
		})
	}
}

func TestStopCommandValidate(t *testing.T) {
	if err := (StopCommand{Agent: "a", Incarnation: 1}).Validate(); err != nil {
		t.Error(err)
	}
	for want, c := range map[string]StopCommand{
		"agent:":         {Agent: "*", Incarnation: 1},
		"incarnation:":   {Agent: "a"},
		"timeout:":       {Agent: "a", Incarnation: 1, Timeout: -1},
		"causationid:":   {Agent: "a", Incarnation: 1, CausationID: "a b"},
		"correlationid:": {Agent: "a", Incarnation: 1, CorrelationID: "a\n"},
	} {
		if err := c.Validate(); !errors.Is(err, ErrRunnerCommand) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want ErrRunnerCommand naming %q", c, err, want)
		}
	}
}

// A command that passes must be one that events and processes can be made of.
func FuzzStartCommand(f *testing.F) {
	if body, err := json.Marshal(startCommand()); err == nil {
		f.Add(body)
	}
	for _, s := range []string{
		`{}`, `null`, `{"agent":"a","incarnation":1,"command":["true"]}`, `{"agent":"a.b","incarnation":1,"command":["true"]}`,
		`{"agent":"a","incarnation":1,"command":["\u0000"]}`, `{"agent":"a","incarnation":1,"command":["x"],"env":{"A=":"b"}}`,
		`{"agent":"a","incarnation":1,"command":["x"],"heartbeat_interval":"1ns"}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var c StartCommand
		if json.Unmarshal(body, &c) != nil {
			return
		}
		if err := c.Validate(); err != nil {
			if !errors.Is(err, ErrRunnerCommand) {
				t.Fatalf("%v is not ErrRunnerCommand", err)
			}
			return
		}
		for _, arg := range append([]string{c.Dir}, c.Command...) {
			if strings.IndexByte(arg, 0) >= 0 {
				t.Fatalf("accepted a NUL in %q", arg)
			}
		}
		if _, err := NewEvent("runner/r", AgentStarted, c.Agent, noon).Correlation(c.CorrelationID).Causation(c.CausationID).Build(); err != nil {
			t.Fatalf("accepted, but its start cannot be reported: %v", err)
		}
		if err := (Heartbeat{Interval: c.HeartbeatInterval, Type: c.Type, Capabilities: c.Capabilities, Capacity: c.Capacity}).Validate(); err != nil {
			t.Fatalf("accepted, but its heartbeat would be refused: %v", err)
		}
	})
}

func FuzzStopCommand(f *testing.F) {
	for _, s := range []string{`{}`, `null`, `{"agent":"a","incarnation":1,"timeout":"5s","kill":true}`, `{"agent":">","incarnation":1}`, `{"agent":"a","incarnation":-1}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var c StopCommand
		if json.Unmarshal(body, &c) != nil {
			return
		}
		if err := c.Validate(); err != nil {
			if !errors.Is(err, ErrRunnerCommand) {
				t.Fatalf("%v is not ErrRunnerCommand", err)
			}
		} else if ValidateID(c.Agent) != nil || c.Incarnation == 0 || c.Timeout < 0 {
			t.Fatalf("accepted %+v", c)
		}
	})
}
