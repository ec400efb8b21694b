package describe

import (
	"fmt"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// Output is the end of what an incarnation printed.
type Output struct {
	Agent       string       `json:"agent"`
	Incarnation uint64       `json:"incarnation"`
	Lines       []OutputLine `json:"lines"`
}

// OutputLine is one line of it.
type OutputLine struct {
	Time time.Time `json:"time"`
	Text string    `json:"text"`
}

// maxOutputLine is how much of a line is shown; smith logs has the rest.
const maxOutputLine = 500

func (p *printer) output(o *Output) {
	if o == nil || len(o.Lines) == 0 {
		return
	}
	p.line("", fmt.Sprintf("the last that %s#%d printed (smith logs %s --incarnation %d has more):", o.Agent, o.Incarnation, o.Agent, o.Incarnation))
	for _, l := range o.Lines {
		p.print("  " + p.clock(l.Time) + "  " + contracts.Clip(l.Text, maxOutputLine))
	}
}
