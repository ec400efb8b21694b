package config

import (
	"os"
	"path/filepath"
)

// source is what a configuration was read from: the file's text, where in it
// settings stand, and the variables that override it.
type source struct {
	places    map[string]Position
	text      string
	overrides []string
	// tree is set where the file says what the tree has.
	tree bool
}

// Text is the content of the file, empty for built-in defaults.
func (f *File) Text() string { return f.text }

// Overrides lists the environment variables that override settings of the file,
// or that it refers to, as NAME=value, sorted. Values may be secret.
func (f *File) Overrides() []string { return f.overrides }

// StatesTree reports whether the file says which children the tree has. A file that
// has the key "tree" with nothing after it does not: so does one that was cut off.
func (f *File) StatesTree() bool { return f.tree }

// Empty reports whether the file states nothing at all.
func (f *File) Empty() bool {
	for setting := range f.places {
		switch setting {
		case "", "supervision_tree", TreeSetting:
		default:
			return false
		}
	}
	return !f.tree
}

// TreeSetting is the setting that lists the children of the root.
const TreeSetting = "supervision_tree.tree"

// SourceOf names a file so that its readings can be told apart: HOST:PATH. No file
// has no name.
func SourceOf(path string) string {
	if path == "" {
		return ""
	}
	if whole, err := filepath.Abs(path); err == nil {
		path = whole
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	return host + ":" + path
}
