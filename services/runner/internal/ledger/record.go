package ledger

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner/internal/process"
)

const recordVersion = 1

// State is where an agent stands.
type State string

// A record goes from idle or exited to starting, running, leaving, exited, and
// so on.
const (
	// Idle: nothing of the newest incarnation ever ran.
	Idle State = ""
	// Starting: the program may have been started; its pid is not known.
	Starting State = "starting"
	// Running: the program was started as Process.
	Running State = "running"
	// Leaving: the program has ended as Exit says; what it had started may live,
	// and is being ended.
	Leaving State = "leaving"
	// Exited: nothing of the newest incarnation lives.
	Exited State = "exited"
)

// Record is all that a runner must remember of an agent.
type Record struct {
	Version int    `json:"version"`
	Agent   string `json:"agent"`
	// Highest is the highest incarnation ever named in a command.
	Highest uint64 `json:"highest"`
	State   State  `json:"state,omitempty"`
	// Start is the last command that was carried out, without its
	// environment, which may hold secrets.
	Start contracts.StartCommand `json:"start"`
	// Token marks the environment of this start's processes.
	Token string `json:"token,omitempty"`
	// Process has nothing but its epoch while State is Starting.
	Process process.Identity `json:"process"`
	Started time.Time        `json:"started,omitzero"`
	// Condemned says that it was told that the program does not work.
	Condemned bool `json:"condemned,omitempty"`
	// Stop is the order to end the process, if there was one.
	Stop *contracts.StopCommand `json:"stop,omitempty"`
	// Cut says why the runner itself ended the process, where it did, see
	// Fleet.Withdraw.
	Cut string `json:"cut,omitempty"`
	// Ending is how far the end of the processes is, once it was begun.
	Ending *Ending         `json:"ending,omitempty"`
	Exit   *contracts.Exit `json:"exit,omitempty"`
	// How names what ended it where that was not the agent.
	How string `json:"how,omitempty"`
	// Removed is when this runner was told that the tree no longer has the agent.
	Removed time.Time `json:"removed,omitzero"`
	// Failure says why the newest incarnation could not be started. That is
	// final: whoever was told so may have started its successor elsewhere.
	Failure string `json:"failure,omitempty"`
	// Outbox are the events that have not been acknowledged yet, in order.
	Outbox []contracts.Event `json:"outbox,omitempty"`
}

// Ending is how far the end of an agent's processes is. Times are those of
// start times: clock ticks since boot.
type Ending struct {
	// Signalled is when the stop signal was sent: a process that started
	// before has had it, and gets no second one. 0 means that it was not.
	Signalled uint64 `json:"signalled,omitempty"`
	// Bound is when what is left is killed.
	Bound uint64 `json:"bound"`
}

// Incarnation is the one that State speaks of.
func (r Record) Incarnation() uint64 { return r.Start.Incarnation }

// Live reports whether a process of the agent may live.
func (r Record) Live() bool {
	return r.State == Starting || r.State == Running || r.State == Leaving
}

// Up reports whether the program itself may live.
func (r Record) Up() bool { return r.State == Starting || r.State == Running }

// Decode reads a record; what it does not understand is ErrCorrupt.
func Decode(b []byte) (Record, error) {
	var r Record
	if err := json.Unmarshal(b, &r); err != nil {
		return Record{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if r.Version != recordVersion {
		return Record{}, fmt.Errorf("%w: version %d, this runner knows %d", ErrCorrupt, r.Version, recordVersion)
	}
	if err := contracts.ValidateID(r.Agent); err != nil {
		return Record{}, fmt.Errorf("%w: agent: %w", ErrCorrupt, err)
	}
	switch r.State {
	case Idle, Exited:
	case Starting, Running, Leaving:
		if r.State == Leaving && r.Exit == nil {
			return Record{}, fmt.Errorf("%w: %s without saying how", ErrCorrupt, r.State)
		}
		if r.Token == "" || r.Incarnation() == 0 || r.State == Running && r.Process.PID <= 0 {
			return Record{}, fmt.Errorf("%w: %s without saying what", ErrCorrupt, r.State)
		}
	default:
		return Record{}, fmt.Errorf("%w: state %.32q", ErrCorrupt, string(r.State))
	}
	if r.Incarnation() > r.Highest {
		return Record{}, fmt.Errorf("%w: incarnation %d is above the highest, %d", ErrCorrupt, r.Incarnation(), r.Highest)
	}
	return r, nil
}
