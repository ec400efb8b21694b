package tree

import (
	"slices"
)

// Answer is the result of an order that took a while. It is kept, so that a
// caller that asks again under the same token, perhaps of a successor, is told
// it, and its order is not carried out twice.
type Answer struct {
	Token  string `json:"token"`
	Result Result `json:"result"`
	Reason string `json:"reason,omitempty"`
}

// maxAnswers bounds how many answers are kept: callers ask again at once.
const maxAnswers = 64

// Asked reports whether an order about a node has been given under a token: it is
// in progress, or its answer is kept.
func (t *Tree) Asked(token, node string) bool {
	_, answered := t.Answered(token)
	n := t.nodes[node]
	if n == nil && token != "" {
		if s := t.scaling(node); s != nil && s.Token == token {
			return true
		}
	}
	return answered || token != "" && n != nil && n.st.Command != nil && slices.Contains(n.st.Command.tokens(), token)
}

// Answered returns the answer to an order that took a while, if it is kept.
func (t *Tree) Answered(token string) (Answer, bool) {
	if token == "" || t.root == nil {
		return Answer{}, false
	}
	answers := t.root.st.Supervisor.Answers
	i := slices.IndexFunc(answers, func(a Answer) bool { return a.Token == token })
	if i < 0 {
		return Answer{}, false
	}
	return answers[i], true
}

// asked reports whether an order is one that was given before. If that is over, it
// is answered again.
func (t *Tree) asked(in *Input) bool {
	if a, ok := t.Answered(in.Token); ok {
		t.reply(in, a.Result, a.Reason)
		return true
	}
	return t.Asked(in.Token, in.Node)
}

func (t *Tree) reply(in *Input, r Result, why string) {
	t.emit(Effect{Kind: DoReply, Node: in.Node, Token: in.Token, Result: r, Reason: why})
}

// answer ends a node's command, if there is one.
func (t *Tree) answer(n *node, r Result) { t.answerWith(n, r, n.st.Why) }

// answerWith ends a node's command, if there is one, for a reason of its own.
func (t *Tree) answerWith(n *node, r Result, why string) {
	if n.st.Command == nil {
		return
	}
	tokens, kind := n.st.Command.tokens(), n.st.Command.Kind
	n.st.Command = nil
	t.touch(n)
	if kind == CmdScale { // which is about others, too
		t.instanceAdded(n, r, why)
		return
	}
	for _, token := range tokens {
		t.emit(Effect{Kind: DoReply, Node: n.spec.ID, Token: token, Incarnation: n.st.Incarnation, Result: r, Reason: why})
		if token != "" {
			t.keepAnswer(Answer{Token: token, Result: r, Reason: why})
		}
	}
}

func (t *Tree) keepAnswer(a Answer) {
	root := t.root.st.Supervisor
	// Not in place: copies of the state share the slice.
	root.Answers = append(slices.Clone(root.Answers[max(0, len(root.Answers)-maxAnswers+1):]), a)
	t.touch(t.root)
}

// Left counts the agents at and below a node that an order still waits for: those
// with a process, when it stops the node, otherwise those that are not verified. The
// first of them, in start order, is named; where it stops the node, the first that is
// being stopped.
func (t *Tree) Left(id string, c CommandKind) (left int, first string) {
	n := t.nodes[id]
	switch {
	case n == nil && c == CmdScale:
		return t.leftToScale(id)
	case n == nil:
		return 0, ""
	}
	for _, a := range n.agents(nil) {
		if c.ends() && a.st.Phase.live() || !c.ends() && a.moving() {
			left++
			if first == "" || c.ends() && a.st.Phase == Stopping && t.nodes[first].st.Phase != Stopping {
				first = a.spec.ID
			}
		}
	}
	return left, first
}
