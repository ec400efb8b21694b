// Package envfile reads files of environment variables in the format of systemd's
// EnvironmentFile: NAME=VALUE lines; empty lines and those that begin with # or ;
// count for nothing. A value may be quoted with ' or ", and then go over several
// lines; a quote means that only where the value, or its next part, begins. A backslash outside quotes stands for the character after it, within "
// only for ", \, ` and $, and at the end of a line it joins the next one. Nothing
// is expanded. Of a name that is given twice the last value counts.
//
// Errors name file and line, and quote no value: it may be a secret.
package envfile

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// maxBytes bounds a file; a kernel takes no larger environment by far.
const maxBytes = 1 << 20

// Read reads a file.
func Read(path string) (map[string]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // a pipe would have the runner wait
		return nil, fmt.Errorf("%s: not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err != nil {
		return nil, err
	}
	return Parse(path, data)
}

// Parse reads the content of a file of that name.
func Parse(name string, data []byte) (map[string]string, error) {
	if len(data) > maxBytes {
		return nil, fmt.Errorf("%s: more than %d bytes", name, maxBytes)
	}
	p := parser{text: strings.ReplaceAll(string(data), "\r\n", "\n"), line: 1}
	vars := map[string]string{}
	for p.text != "" {
		line := p.line
		variable, value, err := p.next()
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s:%d: %w", name, line, err)
		case variable == "":
			continue
		}
		if vars[variable] = value; len(vars) > contracts.MaxEnvVars {
			return nil, fmt.Errorf("%s:%d: more than %d variables", name, line, contracts.MaxEnvVars)
		}
	}
	return vars, nil
}

// parser has what is left of a file, and the line at which that begins.
type parser struct {
	text string
	line int
}

// next reads up to the end of a variable, or of a line that has none.
func (p *parser) next() (name, value string, err error) {
	whole, rest, _ := strings.Cut(p.text, "\n")
	switch trimmed := strings.TrimSpace(whole); {
	case trimmed == "", trimmed[0] == '#', trimmed[0] == ';':
		p.text = rest
		p.line++
		return "", "", nil
	case strings.HasPrefix(trimmed, "export "):
		return "", "", fmt.Errorf("export belongs to shells; write NAME=VALUE alone")
	}
	name, _, found := strings.Cut(whole, "=")
	if !found {
		return "", "", fmt.Errorf("there is no = in the line; write NAME=VALUE, or # before a comment")
	}
	p.text = p.text[len(name)+1:]
	name = strings.TrimSpace(name)
	if err := contracts.ValidateVariable(name); err != nil {
		return "", "", err
	}
	value, err = p.value()
	switch {
	case err != nil:
		return "", "", fmt.Errorf("%s: %w", name, err)
	case strings.ContainsRune(value, 0):
		return "", "", fmt.Errorf("%s: the value has a NUL character, which cannot be passed to a process", name)
	case !utf8.ValidString(value):
		return "", "", fmt.Errorf("%s: the value is not UTF-8 text", name)
	}
	return name, value, nil
}

// value reads a value to the end of its line. White space around it and between its
// quoted parts does not count, unless it is quoted or escaped. Once an unquoted part
// has begun, quotes stand for themselves: it reaches to the end of the line.
func (p *parser) value() (string, error) {
	var out strings.Builder
	plain := false // an unquoted part has begun
	kept := 0      // length up to the last character that is no white space to be cut
	for i := 0; i < len(p.text); i++ {
		switch c := p.text[i]; {
		case c == '\n':
			return p.end(i+1, out.String()[:kept]), nil
		case !plain && (c == '\'' || c == '"'):
			n := p.quoted(i, &out)
			if n < 0 {
				return "", fmt.Errorf("the quote %c is not closed", c)
			}
			i, kept = n, out.Len()
		case c == '\\':
			if i++; i < len(p.text) && p.text[i] != '\n' {
				out.WriteByte(p.text[i])
			}
			plain, kept = true, out.Len()
		case c == ' ', c == '\t', c == '\r':
			if plain {
				out.WriteByte(c)
			}
		default:
			out.WriteByte(c)
			plain, kept = true, out.Len()
		}
	}
	return p.end(len(p.text), out.String()[:kept]), nil
}

// quoted adds what stands in the quotes that begin at i, and returns where they
// end, or -1.
func (p *parser) quoted(i int, out *strings.Builder) int {
	quote := p.text[i]
	for i++; i < len(p.text); i++ {
		c := p.text[i]
		switch {
		case c == quote:
			return i
		case c == '\\' && quote == '"' && i+1 < len(p.text) && strings.IndexByte("\"\\`$\n", p.text[i+1]) >= 0:
			if i++; p.text[i] != '\n' {
				out.WriteByte(p.text[i])
			}
		default:
			out.WriteByte(c)
		}
	}
	return -1
}

// end leaves what comes after the first n characters.
func (p *parser) end(n int, value string) string {
	p.line += strings.Count(p.text[:n], "\n")
	p.text = p.text[n:]
	return value
}
