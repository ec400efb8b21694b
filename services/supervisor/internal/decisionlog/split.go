package decisionlog

import (
	"encoding/json"
	"fmt"
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
	changes []encodedChange
}

type encodedChange struct {
	node string
	json []byte
}

// Encode returns the JSON of the part's DecisionsData.
func (p *Part) Encode() ([]byte, error) {
	raw, err := encoding.Marshal(&p.DecisionsData)
	if err != nil || len(p.changes) == 0 {
		return raw, err
	}
	raw = append(raw[:len(raw)-1], `,"changes":{`...)
	for i, c := range p.changes {
		if i > 0 {
			raw = append(raw, ',')
		}
		raw = append(strconv.AppendQuote(raw, c.node), ':')
		raw = append(raw, c.json...)
	}
	return append(raw, "}}"...), nil
}

// partBytes is how much of a decision goes into one message.
const partBytes = contracts.MaxEventBytes * 2 / 3

// Split cuts a decision into messages that each fit. All but the last say that
// more follow.
func Split(d *Decision) ([]Part, error) {
	c := cutter{parts: []Part{{}}}
	for _, in := range d.Inputs {
		p := c.room(300 + len(in.Detail) + len(in.Data))
		p.Inputs = append(p.Inputs, in)
	}
	for _, e := range d.Effects {
		p := c.room(400 + len(e.Detail))
		p.Effects = append(p.Effects, e)
	}
	for i := range d.Changes {
		change := &d.Changes[i]
		raw, err := encodeChange(change)
		if err != nil {
			return nil, fmt.Errorf("change of %s: %w", change.ID, err)
		}
		p := c.room(len(raw) + 80)
		p.changes = append(p.changes, encodedChange{change.ID, raw})
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
type cutter struct {
	parts []Part
	size  int
}

func (c *cutter) room(n int) *Part {
	if c.size > 0 && c.size+n > partBytes {
		c.parts = append(c.parts, Part{})
		c.size = 0
	}
	c.size += n
	return &c.parts[len(c.parts)-1]
}

// encodeChange returns a change's JSON. Specifications, which change seldom, are
// left to encoding/json: the quicker encoder writes durations as words, and does
// not know omitzero.
func encodeChange(c *tree.Change) ([]byte, error) {
	if c.Spec != nil {
		return json.Marshal(c)
	}
	return encoding.Marshal(c)
}
