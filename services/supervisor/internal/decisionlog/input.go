package decisionlog

import (
	"cmp"
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

// recorded is an input as the JSON of a decision has it. Starts share a word,
// whether they failed or not.
type recorded struct {
	Failed bool `json:"failed,omitempty"`
	tree.Input
}

// encode returns the JSON. Of most inputs it is empty, and a storm brings many.
func (x recorded) encode() ([]byte, error) {
	x.Kind, x.Node, x.Incarnation, x.At, x.Reason, x.Event, x.By, x.Specs, x.Revision = "", "", 0, 0, "", "", nil, nil, 0
	if reflect.ValueOf(&x).Elem().IsZero() {
		return []byte("{}"), nil
	}
	return json.Marshal(x)
}

// WriteInput returns what a decision records of an input. The caller adds the
// sequence, and the time where the input has none. One that is not valid is
// recorded as far as it can be, with an error.
func WriteInput(in tree.Input) (contracts.DecisionInput, error) {
	x := recorded{in.Kind == tree.StartFailed, in}
	if x.Chain == x.Event {
		x.Chain = ""
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
	var x recorded
	if len(r.Data) == 0 {
		return x.Input, fmt.Errorf("%s of %s: %w", r.Kind, r.Node, ErrIncomplete)
	}
	if err := json.Unmarshal(r.Data, &x); err != nil {
		return x.Input, fmt.Errorf("%s of %s: %w", r.Kind, r.Node, err)
	}
	in := x.Input
	in.Kind, in.Node, in.Incarnation, in.Event, in.Reason = inputKind(r.Kind, x.Failed), r.Node, r.Incarnation, r.Event, r.Detail
	in.At, in.By, in.Chain = tree.Instant(r.At.UnixNano()), (*tree.Operator)(r.By), cmp.Or(x.Chain, r.Event)
	if in.Kind == "" {
		return in, fmt.Errorf("%.40q of %s: no such kind of input", r.Kind, r.Node)
	}
	if err := in.Validate(); err != nil {
		return in, fmt.Errorf("%.40q of %s: %w", r.Kind, r.Node, err)
	}
	return in, nil
}
