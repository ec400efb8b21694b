package config_test

import (
	"fmt"

	"github.com/mistersmith/mistersmith/internal/config"
)

// All problems come at once, each with its place.
func ExampleParse() {
	_, err := config.Parse("supervision-config.yaml", []byte(`
supervision_tree:
  root_strategy: one_for_al
  timeouts:
    global: 60
  tree:
    - name: crawler
      policy: gentle
      command: ./crawl --all
`))
	fmt.Println(err)
	// Output:
	// supervision-config.yaml:3:18: supervision_tree.root_strategy: "one_for_al" is not one of one_for_one, one_for_all, rest_for_one, escalate; did you mean "one_for_all"?
	// supervision-config.yaml:5:13: supervision_tree.timeouts.global: 60 has no unit; write "60s" for seconds, or use ms, s, m, h
	// supervision-config.yaml:8:15: supervision_tree.tree[0].policy: there is no restart policy "gentle"; define it under supervision_tree.restart_policies
	// supervision-config.yaml:9:16: supervision_tree.tree[0].command: a command is a list, run without a shell; write ["./crawl", "--all"]
}
