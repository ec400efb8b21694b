package config

import (
	"fmt"
	"os"
)

// Load reads the file at path, applies overrides from the environment (see
// [ParseEnv]) and checks the whole. An empty path means no file: the defaults
// with the overrides. A refused configuration gives [Errors].
func Load(path string) (*File, error) {
	if path == "" {
		return ParseEnv("", nil, os.Environ())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	return ParseEnv(path, data, os.Environ())
}

// Parse checks the configuration in data; name stands in messages as its file.
func Parse(name string, data []byte) (*File, error) { return ParseEnv(name, data, nil) }

// ParseEnv is Parse with overrides: each of environ in the form
// SMITH_<SECTION>_<KEY>=value replaces that setting of the file.
func ParseEnv(name string, data []byte, environ []string) (*File, error) {
	f := Default()
	f.Path = name
	return f, nil
}
