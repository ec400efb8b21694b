package tree

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// Mode says what comes of the decisions about an agent.
type Mode string

// Modes.
const (
	// Off: nothing is decided; the agent is shown.
	Off Mode = "off"
	// Shadow: what would be done is decided and told as a proposal. Nothing is
	// started, stopped or killed.
	Shadow Mode = "shadow"
	// Enforce: what is decided is done.
	Enforce Mode = "enforce"
)

// Rollout is the setting of a node for all agents below it that have no nearer
// one: Enforce percent of them are enforced, the others are in mode Otherwise.
// Which ones depends on nothing but their names, see [Bucket].
type Rollout struct {
	Enforce   int  `json:"enforce"`
	Otherwise Mode `json:"otherwise,omitempty"`
}

// RolloutOf returns the setting that puts all agents into one mode.
func RolloutOf(m Mode) Rollout {
	if m == Enforce {
		return Rollout{Enforce: 100}
	}
	return Rollout{Otherwise: m}
}

// Validate reports why it is none, or nil.
func (r Rollout) Validate() error {
	switch {
	case r.Enforce < 0 || r.Enforce > 100:
		return fmt.Errorf("mode: enforce %d is outside 0 to 100 percent", r.Enforce)
	case r.Enforce < 100 && r.Otherwise != Off && r.Otherwise != Shadow:
		return fmt.Errorf("mode: otherwise %.32q; use off or shadow", string(r.Otherwise))
	case r.Enforce == 100 && r.Otherwise != "" && r.Otherwise != Off && r.Otherwise != Shadow:
		return fmt.Errorf("mode: otherwise %.32q; use off or shadow, or leave it out", string(r.Otherwise))
	}
	return nil
}

// For returns the mode of an agent under the setting.
func (r Rollout) For(agent string) Mode {
	if r.Enforce >= 100 || r.Enforce > 0 && Bucket(agent) < r.Enforce {
		return Enforce
	}
	return r.Otherwise
}

// String is the setting for people.
func (r Rollout) String() string {
	switch {
	case r.Enforce >= 100:
		return string(Enforce)
	case r.Enforce == 0:
		return string(r.Otherwise)
	}
	return fmt.Sprintf("enforce %d%%, otherwise %s", r.Enforce, r.Otherwise)
}

// Bucket returns the place of an agent between 0 and 99: it is enforced where
// more percent than that are. A larger share only adds agents. It is the first
// eight bytes of the name's SHA-256 as a big-endian number, modulo 100.
func Bucket(agent string) int {
	sum := sha256.Sum256([]byte(agent))
	return int(binary.BigEndian.Uint64(sum[:8]) % 100)
}

// Setting is a rollout that was ordered at run time. It lasts until it is taken
// back or the configured one is another.
type Setting struct {
	Rollout
	Configured *Rollout `json:"configured,omitempty"`
}

// rollout is the node's own setting, or nil.
func (n *node) rollout() *Rollout {
	if n.st.Mode != nil {
		return &n.st.Mode.Rollout
	}
	return n.spec.Mode
}

// covering is the nearest setting; where there is none, all is enforced.
func (n *node) covering() Rollout {
	for ; n != nil; n = n.parent {
		if r := n.rollout(); r != nil {
			return *r
		}
	}
	return RolloutOf(Enforce)
}

// mode is that of an agent. A supervisor's is [Enforce] where any share of the
// agents below it is: its own failing then has consequences beyond it.
func (t *Tree) mode(n *node) Mode {
	if !t.hasModes {
		return Enforce
	}
	r := n.covering()
	switch {
	case n.spec.Agent != nil:
		return r.For(n.spec.ID)
	case r.Enforce > 0:
		return Enforce
	}
	return r.Otherwise
}

// Mode returns a node's mode, [Enforce] for a node that there is not. What is
// said of supervisors is in [Tree.Rollout].
func (t *Tree) Mode(id string) Mode {
	if n := t.nodes[id]; n != nil {
		return t.mode(n)
	}
	return Enforce
}

// Modes counts the agents in each mode.
func (t *Tree) Modes() map[Mode]int {
	counts := map[Mode]int{}
	var count func(n *node, r Rollout)
	count = func(n *node, r Rollout) {
		if own := n.rollout(); own != nil {
			r = *own
		}
		if n.spec.Agent != nil {
			counts[r.For(n.spec.ID)]++
		}
		for _, c := range n.kids {
			count(c, r)
		}
	}
	if t.root != nil {
		count(t.root, RolloutOf(Enforce))
	}
	return counts
}

// Rollout returns the setting that counts for a node and whether it was made at
// the node itself, and there at run time.
func (t *Tree) Rollout(id string) (r Rollout, own, ordered bool) {
	n := t.nodes[id]
	if n == nil {
		return RolloutOf(Enforce), false, false
	}
	return n.covering(), n.rollout() != nil, n.st.Mode != nil
}

// setMode carries out CmdMode.
func (t *Tree) setMode(n *node, in *Input) {
	var setting *Setting
	if in.Mode != nil {
		if err := in.Mode.Validate(); err != nil {
			t.reply(in, Invalid, err.Error())
			return
		}
		setting = &Setting{Rollout: *in.Mode, Configured: n.spec.Mode}
	}
	before := n.covering()
	if !sameSetting(n.st.Mode, setting) {
		n.st.Mode = setting
		t.hasModes = true
		t.record(n, func(o *StandingOrders) {
			if o.Mode = nil; setting != nil {
				o.Mode = t.standing(in)
			}
		})
		t.retell(n)
		t.emit(Effect{Kind: NoteMode, Node: n.spec.ID, Reason: "from " + before.String() + " to " + n.covering().String()})
		t.applyModes(n)
	}
	t.reply(in, OK, "")
}

func sameSetting(a, b *Setting) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Rollout == b.Rollout && sameRollout(a.Configured, b.Configured)
}

func sameRollout(a, b *Rollout) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// keepMode forgets a setting made at run time when the configured one is
// another than it was then.
func (t *Tree) keepMode(n *node) {
	if n.spec.Mode != nil {
		t.hasModes = true
	}
	if n.st.Mode != nil && !sameRollout(n.st.Mode.Configured, n.spec.Mode) {
		n.st.Mode = nil
		t.record(n, func(o *StandingOrders) { o.Mode = nil })
	}
}
