package fleet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	encoding "github.com/segmentio/encoding/json"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/reference"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// order is what a runner is told of a start, a contracts.StartCommand, in two
// parts: what is new with every start, and what the agent's specification says,
// whose JSON is made once.
type order struct {
	fresh
	rest []byte
}

// fresh is what every start has of its own.
type fresh struct {
	Agent         string            `json:"agent"`
	Incarnation   uint64            `json:"incarnation"`
	Env           map[string]string `json:"env,omitempty"`
	Vars          map[string]string `json:"vars,omitempty"`
	BootID        string            `json:"boot_id,omitempty"`
	Term          uint64            `json:"term,omitempty"`
	Tree          string            `json:"tree,omitempty"`
	CausationID   string            `json:"causationid,omitempty"`
	CorrelationID string            `json:"correlationid,omitempty"`
}

// encode returns the JSON of the StartCommand.
func (o *order) encode() ([]byte, error) {
	raw, err := encoding.Marshal(&o.fresh)
	if err != nil {
		return nil, err
	}
	return append(raw[:len(raw)-1], o.rest...), nil
}

// specified is what a specification says of starts: the environment, and the
// rest as the JSON that follows fresh. Agents of a template share it.
type specified struct {
	env map[string]string
	ref string // where env is, when it is not in the log
	// expand: env has what the rest refers to, too.
	expand bool
	rest   []byte
}

func specify(start json.RawMessage) (specified, error) {
	var cmd contracts.StartCommand
	if err := json.Unmarshal(start, &cmd); err != nil {
		return specified{}, fmt.Errorf("its specification cannot be read: %w", err)
	}
	s := specified{env: cmd.Env, ref: reference.Of(start), expand: cmd.Expand}
	cmd.Agent, cmd.Incarnation, cmd.Env, cmd.BootID, cmd.Term, cmd.CausationID, cmd.CorrelationID = "", 0, nil, "", 0, "", ""
	cmd.Tree = ""
	raw, err := json.Marshal(cmd)
	if err != nil {
		return specified{}, fmt.Errorf("its specification cannot be encoded: %w", err)
	}
	var whole bool
	if s.rest, whole = bytes.CutPrefix(raw, []byte(`{"agent":"","incarnation":0`)); !whole {
		return specified{}, errors.New("its specification is encoded otherwise than known")
	}
	return s, nil
}

// maxOrders bounds how many specifications are kept ready.
const maxOrders = 1000

// order puts together what a runner is told of a start.
func (c *Commander) order(cmd *Command) (*order, error) {
	spec, err := c.specified(cmd.Spec.Agent.Start)
	if err != nil {
		return nil, err
	}
	env, err := c.environment(spec)
	if err != nil {
		return nil, err
	}
	var vars map[string]string
	if spec.expand {
		env, vars = reference.Split(env)
	}
	return &order{
		fresh: fresh{Agent: cmd.Node, Incarnation: cmd.Incarnation, Tree: c.file.Tree.Name, Env: env, Vars: vars, CausationID: cmd.Decision, CorrelationID: cmd.Chain},
		rest:  spec.rest,
	}, nil
}

// Prepare puts together what runners are to be told, beside what its caller does
// until the commands are needed, which wait waits for. A start that cannot be put
// together fails when it is its turn.
func (c *Commander) Prepare(cmds []Command) (wait func()) {
	var preparing sync.WaitGroup
	if len(cmds) > 0 {
		preparing.Go(func() {
			for i := range cmds {
				if cmds[i].Kind == tree.DoStart {
					cmds[i].order, _ = c.order(&cmds[i])
				}
			}
		})
	}
	return preparing.Wait
}

// environment returns that of a start: from the specification itself where an
// older version put it there, or from where the specification refers to.
func (c *Commander) environment(spec specified) (map[string]string, error) {
	if spec.env != nil || spec.ref == "" {
		return spec.env, nil
	}
	return c.kept(spec.ref)
}

func (c *Commander) specified(start json.RawMessage) (specified, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ready := c.orders[string(start)]; ready {
		return s, nil
	}
	s, err := specify(start)
	if err != nil {
		return specified{}, err
	}
	if len(c.orders) >= maxOrders {
		clear(c.orders)
	}
	c.orders[string(start)] = s
	return s, nil
}
