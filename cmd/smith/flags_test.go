package main

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// examples are the values that people type, by the type that takes them. A flag of
// a new type needs a line here, and one of these types that needs more than an
// arbitrary text must name an example in its help.
var examples = map[reflect.Type][]string{
	reflect.TypeFor[string]():             {"x"},
	reflect.TypeFor[int]():                {"3"},
	reflect.TypeFor[uint64]():             {"3"},
	reflect.TypeFor[float64]():            {"2.5"},
	reflect.TypeFor[[]string]():           {"a,b"},
	reflect.TypeFor[map[string]string]():  {"A=1;B=2"},
	reflect.TypeFor[time.Duration]():      {"1m30s"},
	reflect.TypeFor[contracts.Duration](): {"1m30s"},
	reflect.TypeFor[*moment]():            {"10m"},
	reflect.TypeFor[*int]():               {"7"},
	reflect.TypeFor[*int64]():             {"7"},
	reflect.TypeFor[*place]():             {"10m", "4711", "now"},
	reflect.TypeFor[*span]():              {"10m now"},
}

// inHelp finds the example that a help text names.
var inHelp = regexp.MustCompile(`such as (?:every )?([\w:.-]+\w)`)

// valuesOf lists values that a flag or an argument must take.
func valuesOf(t *testing.T, v *kong.Value) []string {
	values, known := examples[v.Target.Type()]
	switch {
	case !known:
		t.Errorf("%s: nothing is known about values of type %s", v.Summary(), v.Target.Type())
	case v.Enum != "":
		values = slices.DeleteFunc(strings.Split(v.Enum, ","), func(s string) bool { return s == "" })
	case v.Tag.Type == "existingfile":
		values = []string{os.Args[0]}
	}
	m := inHelp.FindStringSubmatch(v.Help)
	if m != nil {
		values = append(slices.Clone(values), m[1])
	}
	if v.Target.Type() == reflect.TypeFor[contracts.Duration]() && m == nil {
		t.Errorf("%s: its help names no example", v.Summary())
	}
	return values
}

// given is a flag with a value for it.
type given struct {
	flag  *kong.Flag
	value string
}

// excludes reports whether both cannot be on one command line.
func (g given) excludes(h given) bool {
	shared := func(group string) bool { return slices.Contains(h.flag.Xor, group) }
	return g.flag.Name == h.flag.Name || slices.ContainsFunc(g.flag.Xor, shared)
}

// linesOf spreads all values of a command's flags over as few command lines as
// they fit on, each with the flags that the command requires.
func linesOf(t *testing.T, leaf *kong.Node) [][]given {
	var required, optional []given
	for _, f := range slices.Concat(leaf.AllFlags(true)...) {
		if f.IsBool() {
			continue
		}
		for _, v := range valuesOf(t, f.Value) {
			optional = append(optional, given{f, v})
		}
		if f.Required {
			required = append(required, optional[len(optional)-1])
		}
	}
	lines := [][]given{required}
	for _, g := range optional {
		fits := func(line []given) bool { return !slices.ContainsFunc(line, g.excludes) }
		at := slices.IndexFunc(lines, fits)
		if at < 0 {
			lines, at = append(lines, slices.DeleteFunc(slices.Clone(required), g.excludes)), len(lines)
		}
		lines[at] = append(lines[at], g)
	}
	return lines
}

// TestEveryFlagTakesItsExample: each flag of each command takes what its help
// names, and keeps it.
func TestEveryFlagTakesItsExample(t *testing.T) {
	tried := 0
	for _, leaf := range newParser(t).Model.Leaves(false) {
		for _, line := range linesOf(t, leaf) {
			args := strings.Fields(strings.TrimPrefix(leaf.Path(), "smith "))
			for _, g := range line {
				args = append(append(args, "--"+g.flag.Name), strings.Fields(g.value)...)
			}
			for _, p := range leaf.Positional {
				if p.Required {
					args = append(args, valuesOf(t, p)[0])
				}
			}
			ctx, err := newParser(t).Parse(args) // a new one, because it remembers flags
			if err != nil {
				t.Errorf("%v: smith %s", err, strings.Join(args, " "))
				continue
			}
			for _, f := range ctx.Flags() {
				typed := slices.ContainsFunc(line, func(g given) bool { return g.flag.Name == f.Name })
				if typed && f.Target.IsZero() {
					t.Errorf("smith %s: --%s is %v", strings.Join(args, " "), f.Name, f.Target)
				}
			}
			tried += len(line)
		}
	}
	if tried < 200 {
		t.Errorf("only %d values tried", tried)
	}
}
