package envfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	const text = "# comment\n; too\n\nA=1\nB = spaced  out \t\nC=\"a b\\\"\\n\\$X\" tail\nD='a\"\\b'\nE=one\\\n two\nF=\nG=\"two\nlines\"\nH=a\\ b\\ \nI=x # no comment\n  J=j\r\nK=last\nA=2"
	want := map[string]string{
		"A": "2", "B": "spaced  out", "C": "a b\"\\n$Xtail", "D": `a"\b`, "E": "one two", "F": "", "G": "two\nlines",
		"H": "a b ", "I": "x # no comment", "J": "j", "K": "last",
	}
	got, err := Parse("f", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// What systemd's own parser makes of lines in which quotes stand at other places than
// around the whole value (systemd-environment-d-generator, version 252).
func TestQuotesAsSystemdHasThem(t *testing.T) {
	for line, want := range map[string]string{
		`{"a": "b", "n": 1}`:   `{"a": "b", "n": 1}`,
		`--name="x y" --q`:     `--name="x y" --q`,
		`don't`:                `don't`,
		`"Carolina" # your id`: `Carolina# your id`,
		`"x"   "y"`:            `xy`,
		`"x"'y'`:               `xy`,
		`"x" y "z"`:            `xy "z"`,
		`\"x y\"`:              `"x y"`,
		"a \\\n":               `a `,
		"\\\n\"x\"":            `"x"`,
		`  "  x "  `:           `  x `,
	} {
		got, err := Parse("f", []byte("A="+line+"\nB=1\n"))
		if err != nil || got["A"] != want || got["B"] == "" && !strings.HasSuffix(line, "\n") {
			t.Errorf("%q is %q, %v; want %q", line, got["A"], err, want)
		}
	}
}

// TestErrors: each names file and line and what is wrong, and no value.
func TestErrors(t *testing.T) {
	for text, want := range map[string]string{
		"A=1\n\nsecret":                 "f:3: there is no = in the line",
		"A=\"1\n2\"\nexport B=secret":   "f:3: export belongs to shells",
		"A='secret":                     "f:1: A: the quote ' is not closed",
		"\n1A=secret":                   `f:2: "1A" cannot be a variable`,
		"SMITH_AGENT=secret":            "f:1: variables that begin with SMITH_ are set by the runner",
		"A=secret\x00":                  "f:1: A: the value has a NUL character",
		"A=secret\xff":                  "f:1: A: the value is not UTF-8",
		strings.Repeat("A", maxBytes+1): "f: more than 1048576 bytes",
	} {
		_, err := Parse("f", []byte(text))
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%.40q: %v, want %s", text, err, want)
		}
	}
	if _, err := Read(filepath.Join(t.TempDir(), "none")); !os.IsNotExist(err) {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := Read(t.TempDir()); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a directory: %v", err)
	}
}

// FuzzParse: whatever the file, the variables can be passed on, and a file that
// is written from them says the same.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"A=1\n", "A='x\ny' \"z\"\\\n", "A", "=", "A=\"", "#\n;\n", "A=\\", "A= \t\\ "} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		vars, err := Parse("f", data)
		if err != nil {
			return
		}
		var again strings.Builder
		for k, v := range vars {
			again.WriteString(k + `="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v) + "\"\n")
		}
		if got, err := Parse("again", []byte(again.String())); err != nil || !cmp.Equal(got, vars) && again.Len() < maxBytes {
			t.Errorf("%q became %q, %v", vars, got, err)
		}
	})
}
