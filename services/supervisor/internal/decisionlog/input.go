package decisionlog

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// ErrIncomplete says that an input was recorded without what it takes to
// decide on it again.
var ErrIncomplete = errors.New("recorded without what it takes to decide on it again")

// extra is what an input needs beyond the fields of contracts.DecisionInput.
// Configured specs are left out: the decision's changes hold them.
type extra struct {
	Failed  bool             `json:"failed,omitempty"`
	Normal  bool             `json:"normal,omitempty"`
	Asked   bool             `json:"requested,omitempty"`
	Unwell  bool             `json:"unwell,omitempty"`
	PID     int              `json:"pid,omitempty"`
	Chain   string           `json:"chain,omitempty"`
	Command tree.CommandKind `json:"command,omitempty"`
	Token   string           `json:"token,omitempty"`
	Spec    *tree.Spec       `json:"spec,omitempty"`
	Count   int              `json:"count,omitempty"`
	To      string           `json:"to,omitempty"`
	Mode    *tree.Rollout    `json:"mode,omitempty"`
	Boot    bool             `json:"boot,omitempty"`
	Runners []tree.Runner    `json:"runners,omitempty"`
	Runner  string           `json:"runner,omitempty"`

	Outdated      bool                `json:"outdated,omitempty"`
	Keep          bool                `json:"keep,omitempty"`
	Configuration *tree.Configuration `json:"configuration,omitempty"`
}

// encode gives its JSON. Of most inputs it is empty, and a storm brings many.
func (x *extra) encode() ([]byte, error) {
	if reflect.ValueOf(x).Elem().IsZero() {
		return []byte("{}"), nil
	}
	return json.Marshal(x)
}

// WriteInput returns what a decision records of an input. The caller adds the
// sequence, and the time where the input has none. One that is not valid is
// recorded as far as it can be, with an error.
func WriteInput(in tree.Input) (contracts.DecisionInput, error) {
	x := extra{
		Failed: in.Kind == tree.StartFailed, Normal: in.Normal, Asked: in.Requested, Unwell: in.Unwell, PID: in.PID, Command: in.Command,
		Token: in.Token, Spec: in.Spec, Count: in.Count, To: in.To, Mode: in.Mode, Boot: in.Boot, Runners: in.Runners,
		Runner:   in.Runner,
		Outdated: in.Outdated, Keep: in.Keep, Configuration: in.Configuration,
	}
	if in.Chain != in.Event {
		x.Chain = in.Chain
	}
	raw, err := x.encode()
	if err != nil {
		return contracts.DecisionInput{}, fmt.Errorf("record %s of %s: %w", in.Kind, in.Node, err)
	}
	out := contracts.DecisionInput{
		Kind: InputWord(in.Kind), Node: in.Node, Incarnation: in.Incarnation, Event: in.Event, Detail: in.Reason, Data: raw,
		By: (*contracts.Operator)(in.By),
	}
	if in.At > 0 {
		out.At = in.At.Time()
	}
	if err := in.Validate(); err != nil {
		return out, fmt.Errorf("record %s of %s: %w", in.Kind, in.Node, err)
	}
	return out, nil
}

// ReadInput returns the input that a decision recorded. A configuration comes without
// its specs. What older programs recorded without data is ErrIncomplete.
func ReadInput(r contracts.DecisionInput) (tree.Input, error) {
	in := tree.Input{Node: r.Node, Incarnation: r.Incarnation, Event: r.Event, Reason: r.Detail, At: tree.Instant(r.At.UnixNano()), By: (*tree.Operator)(r.By)}
	if len(r.Data) == 0 {
		return in, fmt.Errorf("%s of %s: %w", r.Kind, r.Node, ErrIncomplete)
	}
	var x extra
	if err := json.Unmarshal(r.Data, &x); err != nil {
		return in, fmt.Errorf("%s of %s: %w", r.Kind, r.Node, err)
	}
	if in.Kind = inputKind(r.Kind, x.Failed); in.Kind == "" {
		return in, fmt.Errorf("%.40q of %s: no such kind of input", r.Kind, r.Node)
	}
	in.Normal, in.Requested, in.Unwell, in.PID, in.Chain = x.Normal, x.Asked, x.Unwell, x.PID, x.Chain
	in.Command, in.Token, in.Spec, in.Boot, in.Runners = x.Command, x.Token, x.Spec, x.Boot, x.Runners
	in.Count, in.To, in.Mode, in.Runner = x.Count, x.To, x.Mode, x.Runner
	in.Outdated, in.Keep, in.Configuration = x.Outdated, x.Keep, x.Configuration
	if in.Chain == "" {
		in.Chain = in.Event
	}
	if err := in.Validate(); err != nil {
		return in, fmt.Errorf("%.40q of %s: %w", r.Kind, r.Node, err)
	}
	return in, nil
}
