package tree

import (
	"cmp"
	"maps"
	"slices"
)

// Configuration says where the specifications of a Configure come from.
type Configuration struct {
	// Source names the file that they were read from, empty for none. Digest
	// stands for its content.
	Source string `json:"source,omitempty"`
	Digest string `json:"digest,omitempty"`
	// Text refers to the file's content, which is not in the log; empty where it
	// is not kept.
	Text string `json:"text,omitempty"`
	// Sections are digests of the parts that other services read, by name.
	Sections map[string]string `json:"sections,omitempty"`
	// MaxUnavailable makes a rolling restart of the agents that are outdated,
	// that many at once; 0 leaves them running. UsualBound says that nobody asked for
	// that number, so that a rolling restart under way keeps its own.
	MaxUnavailable int  `json:"max_unavailable,omitempty"`
	UsualBound     bool `json:"usual_bound,omitempty"`
}

// Configured is what the tree remembers of its configuration: where the one in
// force came from, and what was last read from each file, so that a file that
// nobody edited does not undo what was applied since.
type Configured struct {
	Source   string            `json:"source,omitempty"`
	Digest   string            `json:"digest,omitempty"`
	Text     string            `json:"text,omitempty"`
	Sections map[string]string `json:"sections,omitempty"`
	// Seen are the files that were read, the latest last, at most [maxSeen].
	Seen []Reading `json:"seen,omitempty"`
}

// Reading is what was last read from a file.
type Reading struct {
	Source string `json:"source"`
	Digest string `json:"digest"`
}

// maxSeen bounds the files that are remembered.
const maxSeen = 32

func (c *Configured) clone() *Configured {
	if c == nil {
		return nil
	}
	d := *c
	d.Sections, d.Seen = maps.Clone(c.Sections), slices.Clone(c.Seen)
	return &d
}

// Configured returns a copy of what is remembered of the configuration; nil when
// the tree is empty or was configured by a version that remembered nothing.
func (t *Tree) Configured() *Configured {
	if t.root == nil {
		return nil
	}
	return t.root.st.Supervisor.Configured.clone()
}

// Standing is how a supervisor comes to offer its file.
type Standing string

// Standings.
const (
	// Starting up: its process was started and decides.
	StartsUp Standing = "starts_up"
	// Joining: its process was started while another decides.
	Joins Standing = "joins"
	// Taking over: it has stood by, and its file was offered when it began to.
	TakesOver Standing = "takes_over"
)

// Offer is what becomes of the file that a supervisor process comes with.
type Offer string

// What becomes of it.
const (
	// Take: it is applied.
	Take Offer = "take"
	// Same: it is in force already.
	Same Offer = "same"
	// Known: nothing was edited in it since it was last read, and another
	// configuration was applied meanwhile, which stays.
	Known Offer = "known"
	// Strange: it was never read before and does not belong to what is in
	// force; it is not taken from a process that only joins.
	Strange Offer = "strange"
)

// Consider decides what becomes of a file that a supervisor process comes with.
// An edited file is applied when its process starts. Else the tree follows the
// log: whoever takes over changes nothing.
func (c *Configured) Consider(source, digest string, s Standing) Offer {
	if c == nil {
		if s == Joins {
			return Strange
		}
		return Take
	}
	if digest == c.Digest {
		return Same
	}
	own := slices.IndexFunc(c.Seen, func(r Reading) bool { return r.Source == source })
	// The same edit may have been read elsewhere since this file was, and something
	// else be applied after that.
	since := slices.ContainsFunc(c.Seen[max(own, 0):], func(r Reading) bool { return r.Digest == digest })
	switch {
	case s == TakesOver, since:
		return Known
	case own < 0 && s == Joins:
		return Strange
	}
	return Take
}

// Present returns the specifications of the nodes that the tree has, in its order. A
// configuration that is in force already adds nothing and moves nothing: what it lists
// and the tree lacks, an operator has removed.
func (t *Tree) Present(specs []*Spec) []*Spec {
	place := map[string]int{}
	var number func(id string)
	number = func(id string) {
		place[id] = len(place)
		for _, c := range t.Children(id) {
			number(c)
		}
	}
	number(t.Root())
	below := map[string][]*Spec{}
	for _, s := range specs {
		n := t.nodes[s.ID]
		if n == nil || n.spec.Dynamic { // removed, or another of that name was added since
			continue
		}
		if s.Parent != "" && !t.Has(s.Parent) { // which it had left before that was removed
			here := *s
			here.Parent, s = n.spec.Parent, &here
		}
		below[s.Parent] = append(below[s.Parent], s)
	}
	present := make([]*Spec, 0, len(specs))
	var list func(parent string)
	list = func(parent string) {
		children := below[parent]
		slices.SortStableFunc(children, func(a, b *Spec) int { return cmp.Compare(place[a.ID], place[b.ID]) })
		for _, s := range children {
			present = append(present, s)
			list(s.ID)
		}
	}
	list("")
	return present
}

// configuredBy remembers where a configuration came from. One that was not
// applied was only read.
func (t *Tree) configuredBy(c *Configuration, applied bool) {
	if c == nil {
		return
	}
	s := t.root.st.Supervisor
	d := s.Configured.clone()
	if d == nil {
		d = &Configured{}
	}
	if applied && d.Digest != c.Digest {
		t.emit(Effect{Kind: NoteConfigure, Node: t.root.spec.ID, Reason: cmp.Or(c.Source, "no file"), Event: t.story.Cause, Chain: t.story.Chain})
	}
	if applied {
		d.Source, d.Digest, d.Text, d.Sections = c.Source, c.Digest, c.Text, maps.Clone(c.Sections)
	}
	if c.Source != "" {
		d.Seen = slices.DeleteFunc(d.Seen, func(r Reading) bool { return r.Source == c.Source })
		d.Seen = append(d.Seen, Reading{c.Source, c.Digest})
		d.Seen = d.Seen[max(0, len(d.Seen)-maxSeen):]
	}
	if s.Configured != nil && sameConfigured(s.Configured, d) {
		return
	}
	s.Configured = d
	t.touch(t.root)
}

func sameConfigured(a, b *Configured) bool {
	return a.Source == b.Source && a.Digest == b.Digest && a.Text == b.Text &&
		maps.Equal(a.Sections, b.Sections) && slices.Equal(a.Seen, b.Seen)
}
