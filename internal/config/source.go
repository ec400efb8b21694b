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
}

// Text is the content of the file, empty for built-in defaults.
func (f *File) Text() string { return f.text }

// Overrides lists the environment variables that override settings of the file,
// as NAME=value, sorted.
func (f *File) Overrides() []string { return f.overrides }

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
