package tree

import "slices"

// maxJoined bounds the orders that join one in progress.
const maxJoined = 32

// tokens are those of all orders that are done when the command is.
func (c *Command) tokens() []string { return append([]string{c.Token}, c.Joined...) }

// contend settles what becomes of the order in progress about a node now that
// another is given. The later one joins it where both want the same. One that brings
// the node down supersedes a start, however far that is, and a restart one whose
// process is already being started: that may be of what was there before. It reports
// whether nothing is left to be done, as the order joined or was refused.
func (t *Tree) contend(n *node, in *Input) (over bool) {
	was := n.st.Command
	switch {
	case was == nil:
		return false
	case t.shares(n, in.Command):
		if len(was.Joined) == maxJoined {
			t.reply(in, Busy, "it is under way already, and too many wait for it")
			return true
		}
		was.Joined = append(slices.Clone(was.Joined), in.Token)
		t.touch(n)
		return true
	case in.Command.ends(), in.Command == CmdRestart && was.Kind.starts():
		t.answerWith(n, Superseded, in.Command.word())
		return false
	}
	t.reply(in, Busy, was.Kind.word()+" is under way; try again when that is done")
	return true
}

// word is what operators know a command by.
func (k CommandKind) word() string {
	if k == CmdClose {
		return "a stop with the service"
	}
	return string(k)
}

// shares reports whether an order is done when the one in progress about the node is.
func (t *Tree) shares(n *node, kind CommandKind) bool {
	was := n.st.Command
	switch kind {
	case CmdTerminate:
		return was.Kind.ends() && was.Kind != CmdClose // which does not outlast the process
	case CmdClose:
		return was.Kind.ends()
	case CmdRemove:
		return was.Kind == CmdRemove
	case CmdRestart:
		return was.Kind == CmdRestart && (was.Queued > 0 || n.st.Phase == Stopping || n.st.Phase.pending() || t.startsAnyway(n))
	}
	return false
}
