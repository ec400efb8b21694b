package detector

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/detector/internal/rehearsal"
	"github.com/mistersmith/mistersmith/services/detector/internal/tape"
)

// RecordingFormat begins a recording's file and names its form: a line with
// a RecordingHeader, and then a contracts.RecordedEntry on each line.
const RecordingFormat = "smith-recording/1"

// RecordingHeader is the first line of a recording.
type RecordingHeader struct {
	Format   string                      `json:"format"`
	Detector string                      `json:"detector"`
	Taken    time.Time                   `json:"taken"`
	Settings contracts.DetectionSettings `json:"settings"`
}

// Recording is what a detector heard.
type Recording struct {
	Header  RecordingHeader
	entries []tape.Entry
}

// ErrRecording tells that a file is no recording, or a damaged one.
var ErrRecording = errors.New("not a recording of the detector")

const (
	maxRecordingLine    = 64 << 10
	maxRecordingEntries = 10_000_000
)

// ReadRecording reads a recording's file. A last line without an end, as of a
// recorder that was killed, is left out.
func ReadRecording(r io.Reader) (Recording, error) {
	var rec Recording
	in := bufio.NewReaderSize(r, maxRecordingLine)
	for n := 1; ; n++ {
		line, err := in.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			return rec, fmt.Errorf("%w: line %d has more than %d bytes", ErrRecording, n, maxRecordingLine)
		case errors.Is(err, io.EOF) && n == 1:
			return rec, fmt.Errorf("%w: it does not begin with a line of %q", ErrRecording, RecordingFormat)
		case errors.Is(err, io.EOF):
			return rec, nil
		case err != nil:
			return rec, err
		case n == 1:
			err = rec.header(line)
		case n > maxRecordingEntries:
			return rec, fmt.Errorf("%w: it has more than %d entries", ErrRecording, maxRecordingEntries)
		default:
			err = rec.entry(line)
		}
		if err != nil {
			return rec, fmt.Errorf("%w: line %d: %w", ErrRecording, n, err)
		}
	}
}

func (r *Recording) header(line []byte) error {
	if err := json.Unmarshal(line, &r.Header); err != nil || r.Header.Format != RecordingFormat {
		return fmt.Errorf("it does not begin with a line of %q", RecordingFormat)
	}
	return nil
}

var tapeKinds = map[contracts.RecordedKind]tape.Kind{
	contracts.RecordedBeat: tape.Beat, contracts.RecordedStarted: tape.Started, contracts.RecordedEnded: tape.Ended,
	contracts.RecordedSuspended: tape.Suspended, contracts.RecordedResumed: tape.Resumed, contracts.RecordedStalled: tape.Stalled,
	contracts.RecordedContinued: tape.Continued,
}

func (r *Recording) entry(line []byte) error {
	var e contracts.RecordedEntry
	if err := json.Unmarshal(bytes.TrimSpace(line), &e); err != nil {
		return err
	}
	kind, known := tapeKinds[e.Kind]
	about := kind == tape.Beat || kind == tape.Started || kind == tape.Ended
	switch {
	case !known:
		return fmt.Errorf("kind: %.32q is none of beat, started, ended, suspended, resumed, continued, stalled", string(e.Kind))
	case about && contracts.ValidateID(e.Agent) != nil:
		return fmt.Errorf("agent: %w", contracts.ValidateID(e.Agent))
	case e.At < 0 || e.For < 0 || e.Interval < 0 || e.Interval.D() > contracts.MaxHeartbeatInterval:
		return errors.New("at, for and interval must not be negative, nor an interval longer than an hour")
	case len(r.entries) > 0 && e.At.D() < r.entries[len(r.entries)-1].At:
		return fmt.Errorf("at: %s is before the entry above", e.At)
	case len(r.entries) > 0 && e.At.D()-r.entries[0].At > maxRecordingLength:
		return fmt.Errorf("at: %s is more than %s after the first entry", e.At, maxRecordingLength)
	}
	r.entries = append(r.entries, tape.Entry{
		At: e.At.D(), Kind: kind, Agent: e.Agent, Type: e.Type, Incarnation: e.Incarnation, Instance: e.Instance,
		Seq: e.Seq, Interval: e.Interval.D(), Leaving: e.Leaving, For: e.For.D(),
	})
	return nil
}

// maxRecordingLength bounds the time that a replay lives through.
const maxRecordingLength = 31 * 24 * time.Hour

// Length is how much time the recording covers.
func (r Recording) Length() time.Duration {
	if len(r.entries) == 0 {
		return 0
	}
	return r.entries[len(r.entries)-1].At - r.entries[0].At
}

// Settings are those by which the recorded detector judged.
func (r Recording) Settings() Config {
	s := r.Header.Settings
	c := Config{
		Algorithm: s.Algorithm, PhiThreshold: s.PhiThreshold, TargetMistakesPerDay: s.TargetMistakesPerDay, SamplingWindowSize: s.SamplingWindowSize,
		FailureThreshold: s.FailureThreshold, MinSamples: s.MinSamples, HeartbeatInterval: s.HeartbeatInterval.D(), StartDeadline: s.StartDeadline.D(),
		MinStdDeviation: s.MinStdDeviation.D(), MaxStdDeviation: s.MaxStdDeviation.D(), Agents: map[string]AgentRules{},
	}
	for name, rules := range s.Agents {
		c.Agents[name] = AgentRules(rules)
	}
	return c
}

// settings are the rules for those who ask.
func (c Config) settings() contracts.DetectionSettings {
	s := contracts.DetectionSettings{
		Algorithm: c.Algorithm, PhiThreshold: c.PhiThreshold, TargetMistakesPerDay: c.TargetMistakesPerDay, SamplingWindowSize: c.SamplingWindowSize,
		FailureThreshold: c.FailureThreshold, MinSamples: c.MinSamples, HeartbeatInterval: contracts.Duration(c.HeartbeatInterval),
		StartDeadline: contracts.Duration(c.StartDeadline), MinStdDeviation: contracts.Duration(c.MinStdDeviation),
		MaxStdDeviation: contracts.Duration(c.MaxStdDeviation), Agents: map[string]contracts.AgentThresholds{},
	}
	if s.Algorithm == "" {
		s.Algorithm = "tail"
	}
	for name, rules := range c.Agents {
		s.Agents[name] = contracts.AgentThresholds(rules)
	}
	return s
}

// Verdicts is what came of a recording under some settings.
type Verdicts struct {
	// Agent is whom it is about; empty for all.
	Agent      string `json:"agent,omitempty"`
	Heartbeats int    `json:"heartbeats"`
	// Verdicts are those from silence, Mistakes those taken back after Mistaken
	// altogether, PerDay how many of them one agent causes a day.
	Verdicts int                `json:"verdicts"`
	Mistakes int                `json:"mistakes"`
	Mistaken contracts.Duration `json:"mistaken"`
	PerDay   float64            `json:"mistakes_per_day"`
	// Found are the silences after which the other verdicts came, shortest
	// first.
	Found []contracts.Duration `json:"found,omitempty"`
	// Mean, Median and Worst (99th percentile) are, over all heartbeats, the
	// time after which a death right after it would have been found, in
	// intervals; Time is the mean as a time.
	Mean   float64            `json:"detection_mean"`
	Median float64            `json:"detection_median"`
	Worst  float64            `json:"detection_p99"`
	Time   contracts.Duration `json:"detection_time"`
}

// Rehearsed is what came of a recording.
type Rehearsed struct {
	Settings contracts.DetectionSettings `json:"settings"`
	Length   contracts.Duration          `json:"length"`
	All      Verdicts                    `json:"all"`
	Agents   []Verdicts                  `json:"agents"`
}

// Rehearse replays a recording under settings. The same recording and settings
// always give the same outcome.
func Rehearse(rec Recording, cfg Config) (Rehearsed, error) {
	if err := cfg.Validate(); err != nil {
		return Rehearsed{}, err
	}
	report, err := rehearsal.Run(rec.entries, cfg.rules())
	if err != nil {
		return Rehearsed{}, fmt.Errorf("rehearse: %w", err)
	}
	out := Rehearsed{Settings: cfg.settings(), Length: contracts.Duration(report.Length), All: verdicts(report.Agent), Agents: []Verdicts{}}
	for _, a := range report.Agents {
		out.Agents = append(out.Agents, verdicts(a))
	}
	return out, nil
}

func verdicts(a rehearsal.Agent) Verdicts {
	v := Verdicts{
		Agent: a.Name, Heartbeats: a.Beats, Verdicts: a.Verdicts, Mistakes: a.Mistakes, Mistaken: contracts.Duration(a.Mistaken), PerDay: a.PerDay(),
		Mean: a.Detection, Median: a.Median, Worst: a.Worst, Time: contracts.Duration(a.DetectionTime),
	}
	for _, f := range a.Found {
		v.Found = append(v.Found, contracts.Duration(f))
	}
	slices.Sort(v.Found)
	return v
}
