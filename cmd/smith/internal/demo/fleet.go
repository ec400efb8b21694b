package demo

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/mistersmith/mistersmith/internal/config"
)

//go:embed demo.yaml
var fleetYAML string

// fleet is the configuration of the demo's fleet: its agents run self and keep
// their files in dir.
func fleet(self, dir string) (*config.File, error) {
	text := strings.NewReplacer("SELF", quote(self), "DIR}", quote(dir)+"}").Replace(fleetYAML)
	f, err := config.Parse("demo.yaml", []byte(text))
	if err != nil {
		return nil, fmt.Errorf("the demo's own configuration: %w", err)
	}
	return f, nil
}

// quote writes s as a YAML string.
func quote(s string) string {
	raw, err := json.Marshal(s)
	if err != nil {
		return `""`
	}
	return string(raw)
}

// agents lists the names of all agents, in start order.
func agents(n *config.Node) []string {
	var names []string
	for _, c := range n.Children {
		if c.Agent != nil {
			names = append(names, c.Agent.Name)
			continue
		}
		names = append(names, agents(c.Node)...)
	}
	return names
}
