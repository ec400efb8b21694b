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

// A record goes from idle or exited to starting, running, exited, and so on.
const (
	// Idle: nothing of the newest incarnation ever ran.
	Idle State = ""
	// Starting: the program may have been started; its pid is not known.
	Starting State = "starting"
	// Running: the program was started as Process.
	Running State = "running"
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
	// Stop is the order to end the process, if there was one.
	Stop *contracts.StopCommand `json:"stop,omitempty"`
	Exit *contracts.Exit        `json:"exit,omitempty"`
	// Failure says why the newest incarnation could not be started. That is
	// final: whoever was told so may have started its successor elsewhere.
	Failure string `json:"failure,omitempty"`
	// Outbox are the events that have not been acknowledged yet, in order.
	Outbox []contracts.Event `json:"outbox,omitempty"`
}

// Incarnation is the one that State speaks of.
func (r Record) Incarnation() uint64 { return r.Start.Incarnation }

// Live reports whether a process of the agent may live.
func (r Record) Live() bool { return r.State == Starting || r.State == Running }

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
	case Starting, Running:
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
