package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// command is one that a page shows.
type command struct {
	place string
	line  string
	// inline ones stand in a sentence and may have placeholders.
	inline bool
}

// inlineCommand is `smith …` in a sentence.
var inlineCommand = regexp.MustCompile("`(smith [^`]+)`")

// commands lists what a page has people type: whole lines of its code blocks,
// fenced or indented, and what is quoted in its sentences.
func commands(place, text string) []command {
	var found []command
	fenced := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
			continue
		}
		bare := strings.TrimPrefix(strings.TrimSpace(line), "$ ")
		if strings.HasPrefix(bare, "smith ") && (fenced || strings.HasPrefix(line, "    ")) {
			found = append(found, command{place: place, line: bare})
			continue
		}
		for _, m := range inlineCommand.FindAllStringSubmatch(line, -1) {
			found = append(found, command{place: place, line: strings.ReplaceAll(m[1], `\|`, "|"), inline: true})
		}
	}
	return found
}

// words splits a line as a shell does, as far as the pages need it: quotes, and
// an end at a comment, a pipe or a redirection.
func words(t *testing.T, line string) []string {
	t.Helper()
	var out []string
	var word []rune
	var quote rune
	begun := false
	end := func() {
		if begun {
			out = append(out, string(word))
		}
		word, begun = nil, false
	}
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word = append(word, r)
		case r == '\'' || r == '"':
			quote, begun = r, true
		case r == ' ':
			end()
		case strings.ContainsRune("|><;&", r), r == '#' && !begun:
			end()
			return out
		default:
			word, begun = append(word, r), true
		}
	}
	if quote != 0 {
		t.Errorf("%s: a quote is not closed", line)
	}
	end()
	return out
}

func newParser(t *testing.T) *kong.Kong {
	t.Helper()
	var flags cli
	parser, err := kong.New(&flags, kong.Name("smith"), kong.Exit(func(int) {}), kong.Writers(io.Discard, io.Discard),
		kong.Vars{"server": "", "version": ""})
	if err != nil {
		t.Fatal(err)
	}
	return parser
}

// check tells what smith would not take. Of a command in a sentence, its name and
// its flags are looked at, as its arguments may be placeholders.
func (c command) check(t *testing.T) error {
	parser := newParser(t) // a new one, because it remembers flags
	args := words(t, c.line)[1:]
	if !c.inline {
		for _, arg := range args {
			if filepath.IsLocal(arg) && slices.Contains([]string{".yaml", ".jsonl"}, filepath.Ext(arg)) {
				if err := os.WriteFile(arg, nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		_, err := parser.Parse(args)
		return err
	}
	node := parser.Model.Node
	for _, arg := range args {
		arg = strings.Trim(arg, "[].,")
		i := slices.IndexFunc(node.Children, func(n *kong.Node) bool { return n.Name == arg })
		if i < 0 {
			break
		}
		node = node.Children[i]
	}
	if node.Type == kong.ApplicationNode && !strings.HasPrefix(args[0], "--") {
		_, err := parser.Parse(args[:1]) // says which commands there are
		return err
	}
	for _, arg := range args {
		name, isFlag := strings.CutPrefix(strings.Trim(arg, "[].,"), "--")
		name, _, _ = strings.Cut(name, "=")
		if !isFlag || name == "" {
			continue
		}
		known := slices.ContainsFunc(slices.Concat(node.AllFlags(false)...), func(f *kong.Flag) bool { return f.Name == name })
		if !known {
			_, err := parser.Parse(append(strings.Fields(strings.TrimPrefix(node.FullPath(), "smith")), "--"+name))
			return err
		}
	}
	return nil
}

// TestCommandsOfThePages: what the pages and the commands' own help have people
// type is taken.
func TestCommandsOfThePages(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	below, err := filepath.Glob("../../docs/*/*.md")
	if err != nil {
		t.Fatal(err)
	}
	pages = append(append(pages, below...), "../../README.md", "../../deploy/README.md", "../../CONTRIBUTING.md", "../../CHANGELOG.md")
	var all []command
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, commands(strings.TrimPrefix(page, "../../"), string(text))...)
	}
	if n := len(all); n < 60 {
		t.Fatalf("only %d commands found on %d pages", n, len(pages))
	}
	t.Chdir(t.TempDir()) // where the files are that the commands name
	for _, cmd := range newParser(t).Model.Leaves(true) {
		path := strings.TrimPrefix(cmd.FullPath(), "smith ")
		var out, errOut bytes.Buffer
		run(append(strings.Fields(path), "--help"), &out, &errOut)
		_, examples, _ := strings.Cut(out.String(), "Example")
		found := commands("smith "+path+" --help", examples)
		if len(found) == 0 {
			t.Errorf("smith %s --help: no example found", path)
		}
		all = append(all, found...)
	}
	for _, c := range all {
		if err := c.check(t); err != nil {
			t.Errorf("%s: %s: %v", c.place, c.line, err)
		}
	}
}

// TestCommandsOfThePagesAreChecked shows that mistakes are found.
func TestCommandsOfThePagesAreChecked(t *testing.T) {
	page := "```sh\nsmith --context smith tree\nsmith tree --context x # fine\nsmith tree --at 10m | less\n$ smith task submit a '{\"q\": \"x y\"}' --wait\n```\n" +
		"See `smith chld add`, `smith tree --dif A B`, `smith child ad`, or `smith tree --at TIME\\|SEQ`, `smith rehearse --config NEW.yaml [--from T] [--to T]`.\n\n    smith nothing\n"
	t.Chdir(t.TempDir())
	var refused []string
	all := commands("page", page)
	for _, c := range all {
		if c.check(t) != nil {
			refused = append(refused, c.line)
		}
	}
	want := []string{"smith --context smith tree", "smith chld add", "smith tree --dif A B", "smith nothing"}
	if len(all) != 10 || !slices.Equal(refused, want) {
		t.Errorf("of %d: %q", len(all), refused)
	}
}
