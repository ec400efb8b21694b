package ledger

import (
	"strconv"
	"strings"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// Variables by which processes of agents are recognised.
const (
	// TokenVar names one start. A process has it from the program that the
	// runner started, however far from that it is.
	TokenVar = "SMITH_START"
	// stateVar is the state directory of the runner that started it: with the
	// runner's name it tells this runner from others on the host.
	stateVar = "SMITH_RUNNER_STATE"
	// CheckVar names, instead of TokenVar, the checks of an agent's health, which are
	// none of its processes.
	CheckVar = "SMITH_CHECK"
)

// CheckVars are the variables to read of processes that may be of checks.
func CheckVars() []string { return []string{CheckVar, stateVar} }

// CheckEnv are the entries KEY=VALUE that mark every process of a check.
func (l *Ledger) CheckEnv(mark string) []string {
	return []string{CheckVar + "=" + mark, stateVar + "=" + l.dir}
}

// IsCheck reports whether a process is of a check that a runner of this state
// directory has made.
func (l *Ledger) IsCheck(vars map[string]string) bool {
	return vars[CheckVar] != "" && vars[stateVar] == l.dir
}

// MarkVars are the variables to read of processes, the token's first.
func MarkVars() []string {
	return []string{
		TokenVar, stateVar, contracts.EnvRunner, contracts.EnvAgent, contracts.EnvIncarnation,
		contracts.EnvShutdownTimeout, contracts.EnvNATSURL,
	}
}

// MarkEnv are the entries KEY=VALUE that mark every process of one start.
func (l *Ledger) MarkEnv(token string) []string {
	return []string{TokenVar + "=" + token, stateVar + "=" + l.dir}
}

// IsMark reports whether an environment variable is the ledger's own.
func IsMark(name string) bool {
	return strings.EqualFold(name, TokenVar) || strings.EqualFold(name, stateVar) || strings.EqualFold(name, CheckVar)
}

// Marks are what a process says in its environment about its start.
type Marks struct {
	Token, StateDir, Runner, Agent, NATSURL string
	Incarnation                             uint64
	ShutdownTimeout                         time.Duration
}

// ParseMarks reads the marks of a process; ok is false when they are not those
// of an agent's start.
func ParseMarks(vars map[string]string) (m Marks, ok bool) {
	m = Marks{
		Token: vars[TokenVar], StateDir: vars[stateVar], Runner: vars[contracts.EnvRunner],
		Agent: vars[contracts.EnvAgent], NATSURL: vars[contracts.EnvNATSURL],
	}
	var err error
	m.Incarnation, err = strconv.ParseUint(vars[contracts.EnvIncarnation], 10, 64)
	if err != nil || m.Incarnation == 0 || m.Incarnation > contracts.MaxIncarnation || m.Token == "" || contracts.ValidateID(m.Agent) != nil {
		return Marks{}, false
	}
	if d, err := time.ParseDuration(vars[contracts.EnvShutdownTimeout]); err == nil && d > 0 {
		m.ShutdownTimeout = d
	}
	return m, true
}
