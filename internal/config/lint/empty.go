package lint

import "github.com/mistersmith/mistersmith/internal/config"

// EmptyFile: the file states nothing at all, as one that was emptied.
const EmptyFile Rule = "empty-file"

func (c *checker) emptyFile() {
	if c.f.Path == "" || !c.f.Empty() {
		return // built-in defaults are meant to be empty
	}
	c.warn(config.TreeSetting, "if the file was emptied or cut off, restore it; if the tree is to have no agents, write \"tree: []\" under supervision_tree",
		"the file states nothing: every setting has its default, and a supervisor that has configured agents refuses the file, since it would remove them all")
}
