package history

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// Diff lists the nodes in which two views of a tree differ, by name, and counts
// those that are the same.
func Diff(from, to contracts.NodeView) (nodes []contracts.NodeDiff, same int) {
	before, after := map[string]contracts.NodeView{}, map[string]contracts.NodeView{}
	flatten(from, before)
	flatten(to, after)
	nodes = []contracts.NodeDiff{}
	for name, a := range before {
		b, ok := after[name]
		if !ok {
			nodes = append(nodes, contracts.NodeDiff{Node: name, Change: contracts.NodeRemoved, Fields: fields(a, contracts.NodeView{})})
			continue
		}
		if f := fields(a, b); len(f) > 0 {
			nodes = append(nodes, contracts.NodeDiff{Node: name, Change: contracts.NodeChanged, Fields: f})
		} else {
			same++
		}
	}
	for name, b := range after {
		if _, ok := before[name]; !ok {
			nodes = append(nodes, contracts.NodeDiff{Node: name, Change: contracts.NodeAdded, Fields: fields(contracts.NodeView{}, b)})
		}
	}
	slices.SortFunc(nodes, func(a, b contracts.NodeDiff) int { return strings.Compare(a.Node, b.Node) })
	return nodes, same
}

func flatten(n contracts.NodeView, into map[string]contracts.NodeView) {
	if n.Name == "" {
		return
	}
	into[n.Name] = n
	for _, c := range n.Children {
		flatten(c, into)
	}
}

// shown are the fields that a difference is looked for in.
var shown = []struct {
	name string
	text func(contracts.NodeView) string
}{
	{"kind", func(n contracts.NodeView) string { return n.Kind }},
	{"type", func(n contracts.NodeView) string { return n.Type }},
	{"parent", func(n contracts.NodeView) string { return n.Parent }},
	{"status", func(n contracts.NodeView) string { return string(n.Status) }},
	{"mode", func(n contracts.NodeView) string { return n.Mode }},
	{"reason", func(n contracts.NodeView) string { return n.Reason }},
	{"strategy", func(n contracts.NodeView) string { return n.Strategy }},
	{"restart", func(n contracts.NodeView) string { return n.Restart }},
	{"incarnation", func(n contracts.NodeView) string { return number(n.Incarnation) }},
	{"runner", func(n contracts.NodeView) string { return n.Runner }},
	{"pid", func(n contracts.NodeView) string { return number(uint64(n.PID)) }},
	{"restarts", func(n contracts.NodeView) string { return number(uint64(n.Restarts)) }},
	{"last_restart", func(n contracts.NodeView) string { return clock(n.LastRestart) }},
	{"until", func(n contracts.NodeView) string { return clock(n.Until) }},
	{"dynamic", func(n contracts.NodeView) string {
		if n.Dynamic {
			return "true"
		}
		return ""
	}},
}

func fields(a, b contracts.NodeView) []contracts.FieldDiff {
	var out []contracts.FieldDiff
	for _, f := range shown {
		if x, y := f.text(a), f.text(b); x != y {
			out = append(out, contracts.FieldDiff{Field: f.name, From: x, To: y})
		}
	}
	return out
}

func number(n uint64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

func clock(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}
