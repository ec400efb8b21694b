package tree

import (
	"strconv"
	"testing"
)

func TestConsider(t *testing.T) {
	t.Parallel()
	c := &Configured{Source: "laptop:new.yaml", Digest: "applied", Seen: []Reading{{"one:f.yaml", "old"}, {"laptop:new.yaml", "applied"}}}
	for _, x := range []struct {
		name           string
		of             *Configured
		source, digest string
		want           map[Standing]Offer
	}{
		{"nothing is remembered", nil, "one:f.yaml", "any", map[Standing]Offer{StartsUp: Take, TakesOver: Take, Joins: Strange}},
		{"in force", c, "two:g.yaml", "applied", map[Standing]Offer{StartsUp: Same, TakesOver: Same, Joins: Same}},
		{"not edited since", c, "one:f.yaml", "old", map[Standing]Offer{StartsUp: Known, TakesOver: Known, Joins: Known}},
		{"edited", c, "one:f.yaml", "newer", map[Standing]Offer{StartsUp: Take, TakesOver: Known, Joins: Take}},
		{"a copy of one that was read", c, "two:f.yaml", "old", map[Standing]Offer{StartsUp: Known, TakesOver: Known, Joins: Known}},
		{"never read", c, "two:g.yaml", "other", map[Standing]Offer{StartsUp: Take, TakesOver: Known, Joins: Strange}},
	} {
		for standing, want := range x.want {
			if got := x.of.Consider(x.source, x.digest, standing); got != want {
				t.Errorf("%s, and the supervisor %s: %s, want %s", x.name, standing, got, want)
			}
		}
	}
}

// A file that was read is remembered, applied or not, and the number of them is
// bounded.
func TestReadingsAreRemembered(t *testing.T) {
	t.Parallel()
	b := newBench(t, five("1")...)
	b.apply(1, five("1")...)
	b.raw(Input{Kind: Configure, Keep: true, Configuration: &Configuration{Source: "g", Digest: "e"}})
	got := b.tree.Configured()
	b.equal("in force", got.Source+" "+got.Digest, "f d")
	b.equal("seen", len(got.Seen), 2)
	before := b.tree.Revision()
	b.raw(Input{Kind: Configure, Keep: true, Configuration: &Configuration{Source: "g", Digest: "e"}})
	b.equal("the same again", b.tree.Revision(), before)
	for i := range 3 * maxSeen {
		b.raw(Input{Kind: Configure, Keep: true, Configuration: &Configuration{Source: "g" + strconv.Itoa(i), Digest: "e"}})
	}
	b.equal("many", len(b.tree.Configured().Seen), maxSeen)
}

// The same edit of two files counts once: the second supervisor's does not undo what
// was applied since the first was read. A file taken back to what another still says
// is an edit.
func TestConsiderFilesOfSeveralHosts(t *testing.T) {
	t.Parallel()
	applied := &Configured{Digest: "applied", Seen: []Reading{{"two:f.yaml", "old"}, {"one:f.yaml", "new"}, {"laptop:g.yaml", "applied"}}}
	taken := &Configured{Digest: "new", Seen: []Reading{{"two:f.yaml", "old"}, {"one:f.yaml", "new"}}}
	for _, x := range []struct {
		name           string
		of             *Configured
		source, digest string
		want           map[Standing]Offer
	}{
		{"the same edit, read elsewhere before another was applied", applied, "two:f.yaml", "new", map[Standing]Offer{StartsUp: Known, TakesOver: Known, Joins: Known}},
		{"edited once more", applied, "two:f.yaml", "newer", map[Standing]Offer{StartsUp: Take, TakesOver: Known, Joins: Take}},
		{"the former file, which the other host still has", taken, "one:f.yaml", "old", map[Standing]Offer{StartsUp: Take, TakesOver: Known, Joins: Take}},
	} {
		for standing, want := range x.want {
			if got := x.of.Consider(x.source, x.digest, standing); got != want {
				t.Errorf("%s, and the supervisor %s: %s, want %s", x.name, standing, got, want)
			}
		}
	}
}
