package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Errors is every problem of one file, sorted by place.
type Errors []Problem

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	// File is the file's name, or "environment" for an override.
	File string
	// Line and Column count from 1. Both are 0 for an override.
	Line, Column int
	// Path is the setting, such as "supervision_tree.timeouts.global".
	Path string
	// Message says what is wrong and what would be right.
	Message string
}

// Error gives one line: file:line:column: path: message.
func (p Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	b.WriteString(": ")
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// Error gives one line a problem.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, p := range e {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

func (e Errors) sort() {
	slices.SortStableFunc(e, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), strings.Compare(a.Path, b.Path), strings.Compare(a.Message, b.Message))
	})
}
