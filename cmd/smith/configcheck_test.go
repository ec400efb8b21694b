package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestConfigCheck: errors fail, warnings only when they shall, and both have a
// place and words, for people and for programs.
func TestConfigCheck(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	fine := write("fine.yaml", "supervision_tree:\n  tree:\n    - {name: a, command: [x]}\n")
	odd := write("odd.yaml", "supervision_tree:\n  tree:\n    - name: s\n      strategy: one_for_one\n      restart: transient\n      escalation: escalate\n      children:\n        - {name: a, command: [x]}\n")
	bad := write("bad.yaml", "supervision_tree:\n  root_stratgy: OneForAll\n")
	for _, c := range []struct {
		args        []string
		code        int
		out, errOut string // what they begin with
	}{
		{[]string{fine}, 0, fine + " is fine: tree main with 1 supervisors and 1 agents", ""},
		{[]string{"--strict", fine}, 0, fine + " is fine: ", ""},
		{[]string{odd}, 0, odd + " is valid, with 1 warning: tree main", odd + ":5:16: warning: supervision_tree.tree[0].restart: when \"s\" exceeds"},
		{[]string{"--strict", odd}, 1, odd + " is valid, with 1 warning: ", odd + ":5:16: warning: "},
		{[]string{bad}, 1, "", bad + ":2:3: supervision_tree: unknown key"},
		{[]string{filepath.Join(dir, "none")}, 1, "", "cannot read the configuration"},
		{[]string{"--strict"}, 2, "", `smith: expected "<file>"`},
	} {
		var out, errOut bytes.Buffer
		code := run(append([]string{"config", "check"}, c.args...), &out, &errOut)
		if code != c.code || !strings.HasPrefix(out.String(), c.out) || !strings.HasPrefix(errOut.String(), c.errOut) || c.errOut == "" && errOut.Len() > 0 || c.out == "" && out.Len() > 0 {
			t.Errorf("%v: exit code %d\n%s%s", c.args, code, out.String(), errOut.String())
		}
	}
	var out, errOut bytes.Buffer
	run([]string{"config", "check", fine}, &out, &errOut)
	if want := "\nIf an agent crashes whenever it has come up:\n" +
		"  a: it is restarted 5 times within 3.1s, and then \"root\" sets it apart and\n    tries again after 1m, later after 10m at most; if each failure comes more\n    than 59.4s after its restart was due, it may be restarted for ever.\n"; !strings.HasSuffix(out.String(), want) {
		t.Errorf("no outlook: %q", out.String())
	}
	for _, c := range []struct {
		args     []string
		code     int
		ok       bool
		severity string
		rule     string
		line     int
	}{
		{[]string{fine}, 0, true, "", "", 0},
		{[]string{odd}, 0, true, "warning", "vanishing-supervisor", 5},
		{[]string{"--strict", odd}, 1, true, "warning", "vanishing-supervisor", 5},
		{[]string{bad}, 1, false, "error", "", 2},
	} {
		var out, errOut bytes.Buffer
		code := run(append([]string{"config", "check", "--json"}, c.args...), &out, &errOut)
		var got checkResult
		if err := json.Unmarshal(out.Bytes(), &got); err != nil || code != c.code || got.OK != c.ok || errOut.Len() > 0 {
			t.Errorf("%v: %v, exit code %d\n%s%s", c.args, err, code, out.String(), errOut.String())
			continue
		}
		if c.severity == "" {
			if got.Problems == nil || len(got.Problems) > 0 {
				t.Errorf("%v: %+v", c.args, got.Problems)
			}
			continue
		}
		p := got.Problems[0]
		if p.Severity != c.severity || string(p.Rule) != c.rule || p.Line != c.line || p.Message == "" || (p.Advice == "") != (c.rule == "") {
			t.Errorf("%v: %+v", c.args, p)
		}
	}
}
