package tree

import (
	"errors"
	"fmt"
	"strings"
)

// ErrInput says that an input has no meaning.
var ErrInput = errors.New("not an input")

// fields is a set of the fields of an Input that belong to some kinds only. When
// something happened, why, and the story that it belongs to, all inputs may say.
type fields uint32

const (
	fieldNode fields = 1 << iota
	fieldIncarnation
	fieldNormal
	fieldUnwell
	fieldPID
	fieldRunner
	fieldCommand
	fieldToken
	fieldBy
	fieldSpec
	fieldCount
	fieldTo
	fieldMode
	fieldOutdated
	fieldSpecs
	fieldKeep
	fieldBoot
	fieldConfiguration
	fieldRevision
	fieldRunners
	fieldRequested
	fieldGathering
	fieldLingering
)

var fieldNames = []string{
	"node", "incarnation", "normal", "unwell", "pid", "runner", "command", "token", "by", "spec", "count", "to", "mode",
	"outdated", "specs", "keep", "boot", "configuration", "revision", "runners", "requested", "gathering", "lingering",
}

func (f fields) String() string {
	var names []string
	for i, name := range fieldNames {
		if f&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// has is the set of fields that are not empty.
func (in *Input) has() fields {
	var f fields
	for i, set := range [...]bool{
		in.Node != "", in.Incarnation != 0, in.Normal, in.Unwell, in.PID != 0, in.Runner != "", in.Command != "", in.Token != "", in.By != nil,
		in.Spec != nil, in.Count != 0, in.To != "", in.Mode != nil, in.Outdated, in.Specs != nil, in.Keep, in.Boot, in.Configuration != nil, in.Revision != 0, in.Runners != nil, in.Requested, in.Gathering, in.Lingering != nil,
	} {
		if set {
			f |= 1 << i
		}
	}
	return f
}

// form is which fields a kind of input must and may have.
type form struct{ must, may fields }

const (
	aboutAgent = fieldNode
	aboutStart = fieldNode | fieldIncarnation
	anOrder    = fieldNode | fieldCommand
	fromWhom   = fieldToken | fieldBy
)

var inputForms = map[InputKind]form{
	Started:          {aboutStart, fieldPID},
	StartFailed:      {aboutAgent, fieldIncarnation},
	Stopped:          {aboutStart, 0},
	Exited:           {aboutAgent, fieldIncarnation | fieldNormal | fieldRequested},
	Failed:           {aboutAgent, fieldIncarnation},
	Lost:             {aboutAgent, fieldIncarnation},
	Found:            {aboutStart | fieldRunner, fieldPID | fieldUnwell},
	Raised:           {aboutStart, fieldRunner},
	Declined:         {aboutStart | fieldRunner, 0},
	Beat:             {aboutAgent, fieldIncarnation | fieldUnwell},
	SeenAlive:        {aboutAgent, fieldIncarnation},
	HeartbeatsMissed: {},
	Tick:             {},
	Order:            {}, // by its command
	Configure:        {0, fieldSpecs | fieldKeep | fieldBoot | fieldConfiguration | fieldRevision | fromWhom},
	Runners:          {0, fieldRunners | fieldGathering | fieldLingering},
}

var commandForms = map[CommandKind]form{
	CmdAdd:       {fieldCommand | fieldSpec, fieldNode | fromWhom},
	CmdStart:     {anOrder, fromWhom},
	CmdDelete:    {anOrder, fromWhom},
	CmdTerminate: {anOrder, fromWhom},
	CmdClose:     {anOrder, fromWhom},
	CmdRestart:   {anOrder, fromWhom},
	CmdSuspend:   {anOrder, fromWhom},
	CmdResume:    {anOrder, fromWhom},
	CmdRemove:    {anOrder, fromWhom},
	CmdScale:     {anOrder, fieldCount | fromWhom},
	CmdMove:      {anOrder, fieldTo | fromWhom},
	CmdMode:      {anOrder, fieldMode | fromWhom},
	CmdRoll:      {anOrder, fieldCount | fieldOutdated | fromWhom},
	CmdRebalance: {anOrder, fieldCount | fromWhom},
}

// Validate reports why an input has no meaning: it is of no known kind, lacks
// what its kind needs, or has what belongs to another kind.
func (in *Input) Validate() error {
	f, known := inputForms[in.Kind]
	what := string(in.Kind)
	if in.Kind == Order {
		f, known = commandForms[in.Command]
		what += " " + string(in.Command)
	}
	has := in.has()
	switch lacks, extra := f.must&^has, has&^(f.must|f.may); {
	case !known:
		return fmt.Errorf("%w: there is no %.40q", ErrInput, what)
	case lacks != 0:
		return fmt.Errorf("%w: %s without %s", ErrInput, what, lacks)
	case extra != 0:
		return fmt.Errorf("%w: %s with %s", ErrInput, what, extra)
	}
	return nil
}
