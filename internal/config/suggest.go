package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// didYouMean offers the known word nearest to the one given, or lists them.
func didYouMean(word string, known []string) string {
	if best := nearest(word, known); best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	if len(known) == 0 {
		return "there are none here"
	}
	all := slices.Sorted(slices.Values(known))
	if len(all) > 24 {
		all = append(all[:24], "…")
	}
	return "known here: " + strings.Join(all, ", ")
}

// nearest returns the known word that word is most likely meant to be, or "".
func nearest(word string, known []string) string {
	if best := Nearest(word, known, 1); len(best) > 0 {
		return best[0]
	}
	return ""
}

// Nearest returns the known words that word is most likely meant to be, the
// nearest first, at most so many.
func Nearest(word string, known []string, most int) []string {
	if len(word) > 64 {
		return nil
	}
	type candidate struct {
		word string
		away int
	}
	var near []candidate
	folded := fold(word)
	limit := max(1, len(folded)/3)
	for _, k := range known {
		f := fold(k)
		if len(f) > len(folded)+limit || len(folded) > len(f)+limit {
			continue
		}
		if d := distance(folded, f); d <= limit {
			near = append(near, candidate{k, d})
		}
	}
	slices.SortStableFunc(near, func(a, b candidate) int { return cmp.Compare(a.away, b.away) })
	out := make([]string, 0, most)
	for _, c := range near[:min(most, len(near))] {
		out = append(out, c.word)
	}
	return out
}

// distance counts the letters to insert, delete, replace or swap with their
// neighbour to get from a to b (optimal string alignment).
func distance(a, b string) int {
	before, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next := make([]int, len(b)+1)
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(row[j]+1, next[j-1]+1, row[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}
