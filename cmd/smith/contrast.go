package main

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/mistersmith/mistersmith/internal/shell"
)

// elided stands for a part that two texts have in common.
const elided = "…"

// contrast shortens two versions of a setting to at most so many characters each, so
// that what differs is seen: parts that are equal in both are left out. Texts that are
// short enough are shown whole. Lists are in JSON.
func contrast(from, to string, most int) (a, b string) {
	if len([]rune(from)) <= most && len([]rune(to)) <= most {
		return from, to
	}
	var x, y []string
	lists := json.Unmarshal([]byte(from), &x) == nil && json.Unmarshal([]byte(to), &y) == nil
	if lists && (len(x) == len(y) || slices.ContainsFunc(x, func(item string) bool { return slices.Contains(y, item) })) {
		return contrastLists(x, y, most)
	}
	a, b = contrastTexts(from, to)
	return clip(a, most), clip(b, most)
}

// contrastLists contrasts lists item by item, without the items that both begin or end
// with.
func contrastLists(x, y []string, most int) (a, b string) {
	first := 0
	for first < min(len(x), len(y)) && x[first] == y[first] {
		first++
	}
	last := 0
	for last < min(len(x), len(y))-first && x[len(x)-1-last] == y[len(y)-1-last] {
		last++
	}
	middle := func(all []string) []string { return all[first : len(all)-last] }
	p, q := slices.Clone(middle(x)), slices.Clone(middle(y))
	if len(p) == len(q) {
		for i := range p {
			if p[i] == q[i] {
				p[i], q[i] = elided, elided
				continue
			}
			p[i], q[i] = contrastTexts(quoted(p[i]), quoted(q[i]))
		}
	} else {
		for _, list := range [][]string{p, q} {
			for i := range list {
				list[i] = quoted(list[i])
			}
		}
	}
	whole := func(items []string) string {
		if first > 0 {
			items = slices.Insert(items, 0, elided)
		}
		if last > 0 {
			items = append(items, elided)
		}
		return clip(strings.Join(slices.CompactFunc(items, func(a, b string) bool { return a == elided && b == elided }), " "), most)
	}
	return whole(p), whole(q)
}

// quoted is an item as JSON has it, for people.
func quoted(s string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(s) != nil {
		return s // of a string there is always JSON
	}
	return shell.OneLine(strings.TrimSuffix(b.String(), "\n"))
}

// around is how much is shown of what is equal before and after what differs, and
// fewest how much must be equal for a part to be left out.
const around, fewest = 8, 12

// contrastTexts leaves out what two texts have in common at their ends, but for some
// characters.
func contrastTexts(from, to string) (a, b string) {
	x, y := []rune(from), []rune(to)
	first := 0
	for first < min(len(x), len(y)) && x[first] == y[first] {
		first++
	}
	last := 0
	for last < min(len(x), len(y))-first && x[len(x)-1-last] == y[len(y)-1-last] {
		last++
	}
	cut := func(all []rune) string {
		begin, end, head, tail := 0, len(all), "", ""
		if first >= around+fewest {
			begin, head = first-around, elided
		}
		if last >= around+fewest {
			end, tail = len(all)-last+around, elided
		}
		return head + string(all[begin:end]) + tail
	}
	return cut(x), cut(y)
}
