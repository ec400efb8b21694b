package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mistersmith/mistersmith/cmd/smith/internal/describe"
	"github.com/mistersmith/mistersmith/internal/shell"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

type treeCmd struct {
	clientFlags
	Node     string `arg:"" optional:"" help:"Show only the subtree under this node."`
	At       *place `placeholder:"TIME|SEQ" xor:"when" help:"Show the tree as it was: at a time, a duration ago such as 10m, or a sequence of the event stream."`
	Problems bool   `xor:"when" help:"List only what is not well, with reasons. Exit code 0 means that nothing is wrong, 1 that something is."`
	Stopped  bool   `xor:"when" help:"List only what operators have terminated, suspended or given another mode, with who ordered it and why. It stays so until an operator takes it back."`
	Wide     bool   `xor:"when" help:"Show also how long each agent has been up, and what processor time and memory it uses."`
	Diff     *span  `placeholder:"A B" xor:"when" help:"Show how the tree differs between two moments, each as for --at; now is one, too."`
}

func (treeCmd) Help() string {
	return "Examples:\n  smith tree\n  smith tree research --json\n  smith tree --wide\n  smith tree --problems\n  smith tree --stopped\n  smith tree --at 10m\n  smith tree --diff 2026-01-02T15:04:05Z now\n  smith tree research --diff 4711 4800"
}

func (c *treeCmd) Run(a *app) error {
	if c.Diff != nil {
		return c.showDiff(a)
	}
	nc, err := c.connect(a)
	if err != nil {
		return err
	}
	defer nc.Close()
	tree, err := askOn[contracts.TreeReply](a, c.clientFlags, nc, contracts.ServiceSupervisor, "tree", contracts.TreeRequest{Node: c.Node, Moment: c.At.moment()})
	if err != nil {
		return err
	}
	if tree.Trouble != "" {
		fmt.Fprintf(a.stderr, "smith: %s\nsmith: the tree is the last one that was stored; what happened since is not in it\n", shell.OneLine(tree.Trouble))
	}
	if c.At == nil {
		if err := c.markDegraded(a, nc, &tree.Root); err != nil && c.Problems {
			fmt.Fprintln(a.stderr, "smith:", err)
		}
	}
	if c.Wide {
		if err := c.addTreeUsage(a, nc, &tree.Root); err != nil {
			fmt.Fprintln(a.stderr, "smith:", err)
		}
	}
	if c.Problems {
		return c.showProblems(a, tree)
	}
	if c.Stopped {
		return c.showStopped(a, tree)
	}
	if c.JSON {
		return a.printJSON(tree)
	}
	if err := a.table(treeTable(tree.Root, a.width(), c.Wide)); err != nil {
		return err
	}
	if err := showOrphans(a, tree.Orphans); err != nil {
		return err
	}
	when := ""
	if tree.At != nil {
		when = fmt.Sprintf(" at sequence %d, %s", tree.Sequence, tree.At.Local().Format("2006-01-02 15:04:05.000"))
	}
	_, err = fmt.Fprintf(a.stdout, "\ntree %s, decision %d by %s%s\n%s%s", tree.Tree, tree.Decision, tree.Supervisor, when, rollingLine(tree.Rolling), scaledLines(scaledBelow(tree.Root)))
	return err
}

// showOrphans lists agents that run and are in no tree.
func showOrphans(a *app, orphans []contracts.Orphan) error {
	if len(orphans) == 0 {
		return nil
	}
	var rows [][]string
	for _, o := range orphans {
		process := "-"
		if o.PID > 0 {
			process = fmt.Sprint(o.PID)
		}
		rows = append(rows, []string{o.Agent, fmt.Sprint(o.Incarnation), dash(o.Tree), o.Runner, process})
	}
	if _, err := fmt.Fprintln(a.stdout, "\norphans, which no supervisor decides about (smith child terminate ends one):"); err != nil {
		return err
	}
	return a.table([]string{"AGENT", "INCARNATION", "OF TREE", "RUNNER", "PID"}, rows)
}

// treeTable returns the columns that show a tree, no wider than a width that is not 0
// if the reasons can be shortened to that. Wide says that it shows what agents use.
func treeTable(root contracts.NodeView, width int, wide bool) (header []string, rows [][]string) {
	var nodes []contracts.NodeView
	walkTree(root, "", "", func(n contracts.NodeView, row []string) {
		nodes, rows = append(nodes, n), append(rows, row)
	})
	header = []string{"NODE", "KIND", "MODE", "STATUS", "INCARNATION", "RESTARTS", "RUNNER", "PID"}
	status := slices.Index(header, "STATUS")
	if !moded(root) {
		const mode = 2
		status--
		header = slices.Delete(header, mode, mode+1)
		for i, row := range rows {
			rows[i] = slices.Delete(row, mode, mode+1)
		}
	}
	if wide {
		header = append(header, usageHeader...)
		for i, n := range nodes {
			rows[i] = append(rows[i], usageRow(n.Usage)...)
		}
	}
	room := roomFor(status, header, rows, width)
	for i, n := range nodes {
		rows[i][status] = statusOf(n, room)
	}
	return header, rows
}

// moded reports whether anything is not enforced, so that modes are shown.
func moded(n contracts.NodeView) bool {
	return n.Mode != "" && n.Mode != "enforce" || slices.ContainsFunc(n.Children, moded)
}

// walkTree visits every node with its row, which is drawn as a tree and lacks the
// status.
func walkTree(n contracts.NodeView, first, rest string, visit func(contracts.NodeView, []string)) {
	kind := n.Type
	if n.Kind == "supervisor" {
		kind = n.Strategy
	}
	incarnation, process := "-", "-"
	if n.Incarnation > 0 {
		incarnation = fmt.Sprint(n.Incarnation)
	}
	if n.PID > 0 {
		process = fmt.Sprint(n.PID)
	}
	visit(n, []string{first + n.Name, dash(kind), dash(n.Mode), "", incarnation, fmt.Sprint(n.Restarts), dash(n.Runner), process})
	for i, child := range n.Children {
		if i == len(n.Children)-1 {
			walkTree(child, rest+"└─ ", rest+"   ", visit)
		} else {
			walkTree(child, rest+"├─ ", rest+"│  ", visit)
		}
	}
}

// statusOf is a node's status with its reason, which is shortened if there is no room
// for it. A room of 0 takes anything.
func statusOf(n contracts.NodeView, room int) string {
	status, after := string(n.Status), ""
	if n.Degraded {
		after += ", degraded"
	}
	if n.Outdated {
		after += ", outdated"
	}
	if n.Until != nil {
		after += " until " + n.Until.Local().Format("15:04:05.000")
	}
	if n.Reason == "" {
		return status + after
	}
	reason := describe.Plain(n.Reason)
	if room > 0 {
		reason = clip(reason, max(room-len(status+" ()"+after), leastRoom))
	}
	return status + " (" + reason + ")" + after
}

type childCmd struct {
	Add       childAddCmd       `cmd:"" help:"Add an agent under a supervisor node."`
	Remove    childRemoveCmd    `cmd:"" help:"Stop an agent or a whole subtree and forget it."`
	Restart   childRestartCmd   `cmd:"" help:"Restart an agent or a whole subtree."`
	Terminate childTerminateCmd `cmd:"" help:"Stop an agent or subtree and keep its place; restart starts it again."`
	Scale     childScaleCmd     `cmd:"" help:"Have more or fewer instances of an agent that the configuration gives a count."`
	Move      childMoveCmd      `cmd:"" help:"Put an agent or subtree under another supervisor node, without a restart."`
	Suspend   childSuspendCmd   `cmd:"" help:"Have a supervisor node restart nothing below it for a while; what runs, runs on."`
	Resume    childResumeCmd    `cmd:"" help:"End a suspension; what failed meanwhile is dealt with now."`
}

type childAddCmd struct {
	clientFlags
	Parent       string             `arg:"" help:"The supervisor node."`
	Name         string             `arg:"" help:"Name of the new agent."`
	Command      []string           `arg:"" passthrough:"" help:"Program and arguments, after --."`
	Type         string             `help:"Type of the agent, which tasks are routed by."`
	Capabilities []string           `help:"What it can do."`
	Capacity     int                `help:"Tasks it works on at once."`
	Restart      string             `enum:"permanent,transient,temporary" default:"permanent" help:"When it is restarted: ${enum}."`
	Env          map[string]string  `help:"Environment, as KEY=VALUE;…; it is kept out of the event log."`
	Dir          string             `help:"Working directory."`
	Interval     contracts.Duration `name:"heartbeat-interval" placeholder:"DURATION" help:"How often it beats, such as 5s."`
	Heartbeats   string             `enum:"agent,runner" default:"agent" help:"Who beats: ${enum}; runner suits programs that know nothing of heartbeats."`
	Runner       string             `default:"any" help:"Which runner starts it."`
	RunnerLabels map[string]string  `help:"Labels that a runner must have to be chosen, as KEY=VALUE;…"`
	Policy       string             `help:"The restart policy that gives its delays; by default its type's, or its supervisor's."`
	Significant  bool               `help:"Its own end can end its supervisor; not with --restart permanent."`
	Deadline     contracts.Duration `name:"start-deadline" placeholder:"DURATION" help:"How long its first beat may take, such as 30s."`
	Stable       contracts.Duration `name:"stabilisation" placeholder:"DURATION" help:"How long it must stay up before a start counts as good, such as 500ms."`
	Shutdown     contracts.Duration `name:"shutdown-timeout" placeholder:"DURATION" help:"Time between the stop signal and SIGKILL, such as 5s."`
	StopSignal   string             `name:"stop-signal" placeholder:"SIGNAL" help:"What it is told to stop by, such as SIGINT; by default SIGTERM."`
	Leave        bool               `name:"leave-children" help:"Keep what it has detached when it ends."`
	Health       map[string]string  `help:"By what its runner finds out that it does not work, as KEY=VALUE;… with the keys that the configuration has under health."`
	PassEnv      []string           `name:"pass-env" placeholder:"VAR" help:"Variable of its runner's environment that it gets; may be repeated."`
	EnvFile      string             `name:"env-file" placeholder:"FILE" help:"File of variables on its runner's host."`
	User         string             `name:"as-user" placeholder:"USER" help:"User that it runs as, by name or number; its runner must be root."`
	Group        string             `name:"as-group" placeholder:"GROUP" help:"Group that it runs as; by default its user's."`
	Umask        string             `placeholder:"OCTAL" help:"Its umask, such as 0027."`
	Nice         *int               `placeholder:"N" help:"Its nice value, from -20 to 19; write --nice=-5 for one below 0."`
	Memory       string             `name:"limit-memory" placeholder:"SIZE" help:"How much memory it may use, such as 512MiB; its host needs cgroups for that."`
	CPU          float64            `name:"limit-cpu" placeholder:"CORES" help:"How many cores it may use, such as 1.5; its host needs cgroups for that."`
	OpenFiles    int                `name:"limit-open-files" placeholder:"N" help:"How many files each of its processes may have open."`
	Processes    int                `name:"limit-processes" placeholder:"N" help:"How many processes and threads it may have."`
	MaxOutput    string             `name:"max-output" placeholder:"SIZE" help:"How much of its output its runner keeps, such as 100MiB."`
	Core         *int64             `name:"limit-core" placeholder:"BYTES" help:"Size of its largest core file, in bytes; --limit-core=-1 for any."`
}

func (childAddCmd) Help() string {
	return "Examples:\n  smith child add research crawler-9 --type researcher -- ./my-agent --flag\n  smith child add research nginx --heartbeats runner -- nginx -g 'daemon off;'"
}

func (c *childAddCmd) Run(a *app) error {
	command := c.Command
	if len(command) > 0 && command[0] == "--" {
		command = command[1:]
	}
	if len(command) == 0 {
		return usagef("name the agent's program after --")
	}
	var health *contracts.HealthSpec
	if len(c.Health) > 0 {
		var err error
		if health, err = contracts.ParseHealthSpec(c.Health); err != nil {
			return usagef("--health: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
		}
	}
	execution := contracts.Execution{
		PassEnv: c.PassEnv, EnvFile: c.EnvFile, User: c.User, Group: c.Group, Umask: c.Umask, Nice: c.Nice,
	}
	limits := contracts.ProcessLimits{CPU: c.CPU, OpenFiles: c.OpenFiles, Processes: c.Processes, Core: c.Core}
	if c.Memory != "" {
		var err error
		if limits.Memory, err = contracts.ParseBytes(c.Memory); err != nil {
			return usagef("--limit-memory: %v", err)
		}
	}
	if c.MaxOutput != "" {
		most, err := contracts.ParseBytes(c.MaxOutput)
		if err != nil {
			return usagef("--max-output: %v", err)
		}
		execution.Output = &contracts.OutputLimits{MaxBytes: most}
	}
	if limits != (contracts.ProcessLimits{}) {
		execution.Limits = &limits
	}
	return c.changeNode(a, "add", c.Name, &contracts.AddRequest{Parent: c.Parent, Child: contracts.ChildSpec{
		Name: c.Name, Type: c.Type, Command: command, Env: c.Env, Dir: c.Dir, Restart: c.Restart,
		Capabilities: c.Capabilities, Capacity: c.Capacity, HeartbeatInterval: c.Interval,
		Heartbeats: c.Heartbeats, Runner: c.Runner, RunnerLabels: c.RunnerLabels, Policy: c.Policy, Significant: c.Significant,
		StartDeadline: c.Deadline, Stabilisation: c.Stable, ShutdownTimeout: c.Shutdown,
		StopSignal: contracts.StopSignal(c.StopSignal), LeaveChildren: c.Leave, Health: health, Execution: execution,
	}})
}

type childScaleCmd struct {
	clientFlags
	Template string `arg:"" help:"The name that the configuration gives the agents."`
	Count    int    `arg:"" help:"How many there are to be."`
	Reason   string `help:"Recorded with the decision."`
}

func (childScaleCmd) Help() string {
	return "Instances with the highest numbers go first. It is done when the new ones are verified and the others gone. The count lasts until the configuration gives another.\n\nExample:\n  smith child scale crawler 8 --reason 'backlog'"
}

func (c *childScaleCmd) Run(a *app) error {
	return c.changeNode(a, "scale", c.Template, &contracts.ScaleRequest{Template: c.Template, Count: c.Count, Reason: c.Reason})
}

type childMoveCmd struct {
	clientFlags
	Node   string `arg:"" help:"The agent or supervisor node."`
	Parent string `arg:"" help:"The supervisor node that it is to be under."`
	Reason string `help:"Recorded with the decision."`
}

func (childMoveCmd) Help() string {
	return "What runs, runs on. What was down with its supervisor starts, and the command waits until it is verified.\n\nExample:\n  smith child move crawler-3 experiments"
}

func (c *childMoveCmd) Run(a *app) error {
	return c.changeNode(a, "move", c.Node, &contracts.MoveRequest{Node: c.Node, Parent: c.Parent, Reason: c.Reason})
}

// nodeFlags are those of commands about one node.
type nodeFlags struct {
	clientFlags
	Node   string `arg:"" help:"The agent or supervisor node."`
	Reason string `help:"Recorded with the decision."`
}

type (
	childRemoveCmd    struct{ nodeFlags }
	childTerminateCmd struct{ nodeFlags }
	childSuspendCmd   struct{ nodeFlags }
	childResumeCmd    struct{ nodeFlags }
)

func (childRemoveCmd) Help() string {
	return "Examples:\n  smith child remove crawler-9\n  smith child remove research --reason 'not needed any more'"
}

func (childTerminateCmd) Help() string {
	return "It stays down, whatever its group, its supervisor or the service does, until an operator restarts it or a supervisor above it. An orphan, which smith tree shows below the tree, is ended too.\n\nExample:\n  smith child terminate crawler-1 --reason 'host under repair'"
}

func (childSuspendCmd) Help() string {
	return "It shows as suspended, lasts over a restart of the supervisor service, or of the node by its parent, and ends with resume or when an operator restarts the node or one above it.\n\nExample:\n  smith child suspend research --reason 'looking into the crashes'"
}

func (childResumeCmd) Help() string {
	return "Example:\n  smith child resume research"
}

func (c *childRemoveCmd) Run(a *app) error    { return c.order(a, "remove") }
func (c *childTerminateCmd) Run(a *app) error { return c.order(a, "terminate") }

func (c *childSuspendCmd) Run(a *app) error { return c.order(a, "suspend") }
func (c *childResumeCmd) Run(a *app) error  { return c.order(a, "resume") }

func (f nodeFlags) order(a *app, verb string) error {
	return f.changeNode(a, verb, f.Node, &contracts.NodeRequest{Node: f.Node, Reason: f.Reason})
}

type drainCmd struct {
	clientFlags
	Reason string `help:"Recorded with the decision."`
}

func (drainCmd) Help() string {
	return "Every agent stops within its shutdown timeout: those of a group one after the other in reverse order, all others side by side. The tree stays down, also when the service or the host starts again, until its root is restarted.\n\nExamples:\n  smith drain --reason maintenance\n  smith child restart root"
}

func (c *drainCmd) Run(a *app) error {
	return c.change(a, "drain", &contracts.NodeRequest{Reason: c.Reason})
}
