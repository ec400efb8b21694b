package decisionlog

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	encoding "github.com/segmentio/encoding/json"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// Part is what one message holds of a decision. Its changes are JSON already,
// and stay out of DecisionsData, so that their JSON is gone through once only:
// in a storm, encoding decisions is what takes the most time.
type Part struct {
	contracts.DecisionsData
	// changes are the members of a JSON object, separated by commas.
	changes []byte
	// size is about how large the JSON is, rather more than less.
	size int
}

// asJSON are the options with which the quick encoder writes what encoding/json
// does.
const asJSON = encoding.EscapeHTML | encoding.SortMapKeys

// Append appends the JSON of the part's DecisionsData.
func (p *Part) Append(to []byte) ([]byte, error) {
	to, err := encoding.Append(slices.Grow(to, p.size), &p.DecisionsData, asJSON)
	if err != nil || len(p.changes) == 0 {
		return to, err
	}
	to = append(to[:len(to)-1], `,"changes":{`...)
	to = append(to, p.changes...)
	return append(to, "}}"...), nil
}

// partBytes is how much of a decision goes into one message.
const partBytes = contracts.MaxEventBytes * 2 / 3

// Split cuts a decision into messages that each fit. All but the last say that
// more follow.
func Split(d *Decision) ([]Part, error) {
	c := cutter{parts: []Part{{}}}
	for i := range d.Inputs {
		in := &d.Inputs[i]
		p := c.room(300 + len(in.Detail) + len(in.Data))
		p.Inputs = d.Inputs[i-len(p.Inputs) : i+1]
	}
	for i := range d.Effects {
		p := c.room(400 + len(d.Effects[i].Detail))
		p.Effects = d.Effects[i-len(p.Effects) : i+1]
	}
	for i := range d.Changes {
		if err := c.change(&d.Changes[i], len(d.Changes)-i-1); err != nil {
			return nil, err
		}
	}
	for i := range c.parts {
		p := &c.parts[i]
		p.Tree, p.Supervisor, p.Version, p.Number, p.Cursor = d.Tree, d.Supervisor, tree.Version, d.Number, d.Cursor
		p.Skipped, p.Part = d.Skipped, i
		p.More = i < len(c.parts)-1
	}
	return c.parts, nil
}

// cutter begins another part when the last has no room left.
type cutter struct{ parts []Part }

func (c *cutter) room(n int) *Part {
	p := &c.parts[len(c.parts)-1]
	if p.size > 0 && p.size+n > partBytes {
		c.parts = append(c.parts, Part{})
		p = &c.parts[len(c.parts)-1]
	}
	p.size += n
	return p
}

// changeBytes is how large the JSON of an agent's change is, with a failure and a
// restart.
const changeBytes = 700

// change adds an encoded change. More of them follow.
func (c *cutter) change(change *tree.Change, more int) error {
	last := len(c.parts) - 1
	all := c.parts[last].changes
	if all == nil {
		all = make([]byte, 0, min(partBytes, changeBytes*(1+more)))
	}
	from := len(all)
	if from > 0 {
		all = append(all, ',')
	}
	at := len(all)
	all = append(strconv.AppendQuote(all, change.ID), ':')
	all, err := appendChange(all, change)
	if err != nil {
		return fmt.Errorf("change of %s: %w", change.ID, err)
	}
	p := c.room(len(all) - at + 80)
	if len(c.parts)-1 == last {
		p.changes = all
		return nil
	}
	p.changes = append(make([]byte, 0, min(partBytes, changeBytes*(1+more))), all[at:]...)
	return nil
}

// appendChange appends a change's JSON. Specifications, which change seldom, are
// left to encoding/json: the quicker encoder writes durations as words, and does
// not know omitzero.
func appendChange(to []byte, c *tree.Change) ([]byte, error) {
	if c.Spec == nil {
		return encoding.Append(to, c, asJSON)
	}
	raw, err := json.Marshal(c)
	return append(to, raw...), err
}
