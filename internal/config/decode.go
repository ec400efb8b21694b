package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// Bounds on what a file may make the decoder do.
const (
	maxFileBytes = contracts.MaxConfigBytes
	maxValues    = 200_000 // aliases can multiply what is read
	maxDepth     = 64
	maxPath      = 160 // of a setting's path, as messages show it
)

// decoder walks the nodes of one file and collects every problem.
type decoder struct {
	file     string
	env      *overrides
	problems Errors
	seen     map[string]bool // problems already reported
	places   map[string]Position
	values   int
	// known, when a test sets it, collects every key asked for.
	known map[string]bool
}

// value is one YAML value and where it stands.
type value struct {
	d     *decoder
	node  *yaml.Node
	path  string
	depth int
	// env is the environment variable it came from instead of the file.
	env string
}

// fail reports a problem with v.
func (v value) fail(format string, args ...any) { v.failAt(v.node, format, args...) }

// failAt reports a problem of v at the place of another node.
func (v value) failAt(n *yaml.Node, format string, args ...any) {
	path := v.path
	if cut := len(path) - maxPath; cut > 0 {
		path = "…" + path[cut:]
	}
	p := Problem{File: v.d.file, Line: max(1, n.Line), Column: max(1, n.Column), Path: path, Message: fmt.Sprintf(format, args...)}
	if v.env != "" {
		p = Problem{File: "environment", Path: v.env, Message: p.Message}
	}
	v.d.report(p)
}

// report keeps a problem once, though aliases may lead to it many times.
func (d *decoder) report(p Problem) {
	key := fmt.Sprintf("%d:%d:%s", p.Line, p.Column, p.Message)
	if p.Line == 0 {
		key += p.Path
	}
	if !d.seen[key] {
		d.seen[key] = true
		d.problems = append(d.problems, p)
	}
}

// parse turns data into its single document's content; nil for an empty file.
func (d *decoder) parse(data []byte) *yaml.Node {
	if len(data) > maxFileBytes {
		d.report(Problem{File: d.file, Line: 1, Column: 1, Message: fmt.Sprintf("the file has %d bytes; at most %d are read", len(data), maxFileBytes)})
		return nil
	}
	var docs []yaml.Node
	if err := yaml.Load(data, &docs, yaml.WithAllDocuments()); err != nil {
		d.report(d.syntax(data, err))
		return nil
	}
	switch {
	case len(docs) == 0 || len(docs[0].Content) == 0:
		return nil
	case len(docs) > 1:
		n := docs[1]
		d.report(Problem{File: d.file, Line: max(1, n.Line), Column: max(1, n.Column), Message: "a second document begins here; put everything into one"})
		return nil
	}
	return docs[0].Content[0]
}

// unplaced begins the library's messages that carry no position.
var unplaced = regexp.MustCompile(`^(go-)?yaml[^:]*: `)

// syntax makes a problem of the library's error, which may lack a place.
func (d *decoder) syntax(data []byte, err error) Problem {
	p := Problem{File: d.file, Line: 1, Column: 1}
	var at *yaml.LoadError
	if !errors.As(err, &at) {
		p.Message = "not YAML: " + unplaced.ReplaceAllString(err.Error(), "")
		return p
	}
	p.Message = "not YAML: " + at.Message
	if at.ContextMsg != "" {
		p.Message += " (" + at.ContextMsg + ")"
	}
	if at.Mark.Line > 0 {
		p.Line, p.Column = at.Mark.Line, max(1, at.Mark.Column)
	} else if i := invalidByte(data); i >= 0 {
		before := string(data[:i])
		p.Line = strings.Count(before, "\n") + 1
		p.Column = i - strings.LastIndex(before, "\n")
		p.Message = fmt.Sprintf("not YAML: byte 0x%02x is not UTF-8 text; save the file as UTF-8", data[i])
	}
	return p
}

// resolve follows aliases and counts what is read.
func (v value) resolve() (value, bool) {
	v.d.note(v)
	for range maxDepth {
		if v.node.Kind != yaml.AliasNode || v.node.Alias == nil {
			break
		}
		v.node = v.node.Alias
	}
	v.d.values++
	switch {
	case v.d.values == maxValues+1:
		v.fail("the file is too large: its aliases make more than %d values", maxValues)
		return v, false
	case v.d.values > maxValues:
		return v, false
	case v.depth > maxDepth:
		v.fail("nested deeper than %d levels; is an alias inside its own anchor?", maxDepth)
		return v, false
	}
	return v, true
}

// isNull tells whether nothing, or an explicit null, is written.
func (v value) isNull() bool { return v.node.Kind == yaml.ScalarNode && v.node.ShortTag() == "!!null" }

// kind names what v is, for messages.
func (v value) kind() string {
	switch v.node.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	if v.isNull() {
		return "nothing"
	}
	return fmt.Sprintf("%q", clip(v.node.Value))
}

// clip shortens what a file says for a message.
func clip(s string) string {
	if r := []rune(s); len(r) > 40 {
		return string(r[:40]) + "…"
	}
	return s
}

// list gives the elements of a list. What is no list is reported.
func (v value) list(what string) []value {
	v, ok := v.resolve()
	if !ok || v.isNull() {
		return nil
	}
	if v.node.Kind != yaml.SequenceNode {
		v.fail("a list of %s is needed, not %s", what, v.kind())
		return nil
	}
	out := make([]value, 0, len(v.node.Content))
	for i, n := range v.node.Content {
		e := value{d: v.d, node: n, path: fmt.Sprintf("%s[%d]", v.path, i), depth: v.depth + 1}
		if e, ok := e.resolve(); ok {
			out = append(out, e)
		}
	}
	return out
}
