package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// maxScaledLines bounds the templates that are listed.
const maxScaledLines = 10

// scaledLines says which templates have another count by order than in the file, and how
// to take that back; empty if none has.
func scaledLines(all []contracts.ScaledTemplate) string {
	var b strings.Builder
	for i, s := range all {
		if i == maxScaledLines {
			fmt.Fprintf(&b, "and %s\n", plural(len(all)-i, "more scaled template"))
			break
		}
		fmt.Fprintf(&b, "%s: %d by order, %d in the file; smith child scale %s %d takes it back\n", s.Template, s.Count, s.Configured, s.Template, s.Configured)
	}
	return b.String()
}

// scaledBelow are the scaled templates at and below a node.
func scaledBelow(n contracts.NodeView) []contracts.ScaledTemplate {
	all := slices.Clone(n.Scaled)
	for _, c := range n.Children {
		all = append(all, scaledBelow(c)...)
	}
	return all
}
