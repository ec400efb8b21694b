package lint

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/mistersmith/mistersmith/internal/config"
)

// ShellSyntax: a command, or a path, that only a shell would understand.
const ShellSyntax Rule = "shell-syntax"

// shells expand what their arguments say themselves.
var shells = []string{"sh", "bash", "dash", "ash", "zsh", "ksh", "fish"}

// operators are words by which a shell joins and redirects commands.
var operators = []string{"|", "||", "&", "&&", ";", ">", ">>", "<", "2>", "2>&1", "&>"}

func (c *checker) shellSyntax() {
	for _, k := range c.agents() {
		a := k.agent
		c.program(a)
		for i, word := range a.Command {
			setting := fmt.Sprintf("%s.command[%d]", a.Setting, i)
			switch {
			case slices.Contains(shells, path.Base(a.Command[0])):
			case i > 0 && slices.Contains(operators, word):
				c.warn(setting, shell(a.Command...), "no shell runs the command of agent %q, so its program gets %q and what follows as arguments", a.Name, word)
			case home(word):
				c.homeless(setting, a, word)
			}
		}
		for key, text := range map[string]string{"dir": a.Dir, "env_file": a.Execution.EnvFile} {
			if home(text) {
				c.homeless(a.Setting+"."+key, a, text)
			}
		}
	}
}

// program warns of a first word that is a whole command line.
func (c *checker) program(a *config.Agent) {
	if len(a.Command) == 0 || home(a.Command[0]) && len(strings.Fields(a.Command[0])) == 1 {
		return
	}
	first := strings.NewReplacer("${", "", "$${", "").Replace(a.Command[0]) // which are expanded
	advice, setting := shell(a.Command...), a.Setting+".command[0]"
	switch words := strings.Fields(a.Command[0]); {
	case strings.ContainsAny(first, "|&;<>()$`*?\"'"):
		c.warn(setting, advice, "no shell runs the command of agent %q, so the program that is looked for is named %q", a.Name, a.Command[0])
	case len(words) > 1:
		c.warn(setting, "write each word apart: ["+quoted(append(words, a.Command[1:]...))+"]",
			"no shell splits the command of agent %q into words, so the program that is looked for is named %q", a.Name, a.Command[0])
	}
}

func (c *checker) homeless(setting string, a *config.Agent, text string) {
	c.warn(setting, "write the whole path, or ${HOME}"+text[1:], "only shells take ~ for a home directory; for agent %q it is a directory of that name", a.Name)
}

// home reports whether a text begins with a home directory, as shells see it.
func home(text string) bool { return text == "~" || strings.HasPrefix(text, "~/") }

// shell advises to have a shell run a command.
func shell(words ...string) string {
	return "to have a shell run it, write [" + quoted([]string{"sh", "-c", strings.Join(words, " ")}) + "]"
}

func quoted(words []string) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = strconv.Quote(w)
	}
	return strings.Join(out, ", ")
}
