package fleet

import "strings"

// texts keeps each of the words that agents share (types, runners, states) only
// once, as long as any agent uses it. An entry holds a word's number; 0 is the
// empty word.
type texts struct {
	words   []word
	numbers map[string]uint32
	free    []uint32
}

type word struct {
	text string
	uses int
}

func newTexts() *texts { return &texts{words: make([]word, 1), numbers: map[string]uint32{}} }

func (t *texts) text(number uint32) string { return t.words[number].text }

// set replaces a word.
func (t *texts) set(number *uint32, text string) {
	if t.words[*number].text == text {
		return
	}
	t.drop(*number)
	*number = t.hold(text)
}

func (t *texts) hold(text string) uint32 {
	if text == "" {
		return 0
	}
	n, known := t.numbers[text]
	switch {
	case known:
	case len(t.free) > 0:
		n, t.free = t.free[len(t.free)-1], t.free[:len(t.free)-1]
	default:
		n = uint32(len(t.words))
		t.words = append(t.words, word{})
	}
	if !known {
		text = strings.Clone(text) // it may be part of a message
		t.words[n].text = text
		t.numbers[text] = n
	}
	t.words[n].uses++
	return n
}

func (t *texts) drop(number uint32) {
	if number == 0 {
		return
	}
	w := &t.words[number]
	if w.uses--; w.uses == 0 {
		delete(t.numbers, w.text)
		w.text = ""
		t.free = append(t.free, number)
	}
}
