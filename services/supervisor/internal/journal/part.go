package journal

import (
	"encoding/json"
	"fmt"
	"strconv"

	encoding "github.com/segmentio/encoding/json"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// part is what one message holds of a decision. Its changes are JSON already,
// and stay out of DecisionsData, so that their JSON is gone through once only:
// in a storm, encoding decisions is what takes the most time.
type part struct {
	contracts.DecisionsData
	changes []encodedChange
}

type encodedChange struct {
	node string
	json []byte
}

// encode gives the JSON of the part's DecisionsData.
func (p *part) encode() ([]byte, error) {
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

// split cuts a decision into messages that each fit.
func split(d Decision) ([]part, error) {
	parts := []part{{}}
	size := 0
	room := func(n int) *part {
		if size > 0 && size+n > partBytes {
			parts = append(parts, part{})
			size = 0
		}
		size += n
		return &parts[len(parts)-1]
	}
	for _, in := range d.Inputs {
		p := room(300 + len(in.Detail) + len(in.Data))
		p.Inputs = append(p.Inputs, in)
	}
	for _, e := range d.Effects {
		p := room(400 + len(e.Detail))
		p.Effects = append(p.Effects, e)
	}
	for i := range d.Changes {
		c := &d.Changes[i]
		raw, err := encodeChange(c)
		if err != nil {
			return nil, fmt.Errorf("change of %s: %w", c.ID, err)
		}
		p := room(len(raw) + 80)
		p.changes = append(p.changes, encodedChange{c.ID, raw})
	}
	return parts, nil
}

// encodeChange gives a change's JSON. Specifications, which change seldom, are
// left to encoding/json: the quicker encoder writes durations as words, and does
// not know omitzero.
func encodeChange(c *tree.Change) ([]byte, error) {
	if c.Spec != nil {
		return json.Marshal(c)
	}
	return encoding.Marshal(c)
}
