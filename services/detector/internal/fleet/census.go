package fleet

// census counts the agents that were heard in their present life, by what they
// share: the numbers of the words for it.
type census struct {
	all            int
	runners, kinds map[uint32]int
}

func newCensus() census { return census{runners: map[uint32]int{}, kinds: map[uint32]int{}} }

func (c *census) enrol(a *agent, in bool) {
	by := -1
	if in {
		by = 1
	}
	c.all += by
	count(c.runners, a.runner, by)
	count(c.kinds, a.kind, by)
}

func count(in map[uint32]int, word uint32, by int) {
	if word == 0 {
		return
	}
	if in[word] += by; in[word] == 0 {
		delete(in, word)
	}
}

// regroup sets what an agent shares with others; an empty text says nothing.
func (f *Fleet) regroup(a *agent, word *uint32, text string) {
	if text == "" || f.texts.text(*word) == text {
		return
	}
	if a.band != Unknown {
		f.census.enrol(a, false)
	}
	f.texts.set(word, text)
	if a.band != Unknown {
		f.census.enrol(a, true)
	}
}

// Heard is how many agents were heard in their present life and have neither
// left nor ended; OnRunner and OfType are how many of those share a runner or a
// type.
func (f *Fleet) Heard() int { return f.census.all }

// OnRunner: see Heard.
func (f *Fleet) OnRunner(runner string) int { return f.census.runners[f.texts.numbers[runner]] }

// OfType: see Heard.
func (f *Fleet) OfType(typ string) int { return f.census.kinds[f.texts.numbers[typ]] }
