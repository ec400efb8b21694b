package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/detector"
)

type rehearseDetectorCmd struct {
	File   string   `arg:"" help:"A recording of smith detector record; - is standard input."`
	Config string   `placeholder:"FILE" help:"Take the settings of this configuration instead of the recorded ones."`
	Set    []string `sep:"none" placeholder:"KEY=VALUE" help:"Change a setting of failure_detection; may be repeated."`
	JSON   bool     `help:"Print JSON."`
}

func (rehearseDetectorCmd) Help() string {
	return "Replays a recording twice, under the settings of then and under others, and sets the two side by side. The same core decides as in earnest, but for probes; " +
		"nothing running is asked or changed. Another algorithm takes its own threshold with it unless you set one.\n\n" +
		"Examples:\n  smith detector rehearse all.jsonl --set phi_threshold=6\n  smith detector rehearse all.jsonl --set algorithm=normal --json\n" +
		"  smith detector rehearse all.jsonl --config new.yaml"
}

// rehearsedPair is what --json prints.
type rehearsedPair struct {
	Recorded  detector.Rehearsed `json:"recorded"`
	Rehearsed detector.Rehearsed `json:"rehearsed"`
}

func (c *rehearseDetectorCmd) Run(a *app) error {
	rec, err := c.read()
	if err != nil {
		return err
	}
	then := rec.Settings()
	other, err := c.settings(rec)
	if err != nil {
		return err
	}
	var pair rehearsedPair
	if pair.Recorded, err = detector.Rehearse(rec, then); err == nil {
		pair.Rehearsed, err = detector.Rehearse(rec, other)
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(pair)
	}
	return pair.print(a)
}

func (c *rehearseDetectorCmd) read() (detector.Recording, error) {
	var in io.Reader = os.Stdin
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return detector.Recording{}, fmt.Errorf("%w: %w", errUsage, err)
		}
		defer f.Close()
		in = f
	}
	rec, err := detector.ReadRecording(in)
	if errors.Is(err, detector.ErrRecording) {
		return rec, fmt.Errorf("%w: %s: %w", errUsage, c.File, err)
	}
	return rec, err
}

// settings are those to try out: a file's or the recorded ones, with what is
// set in their place.
func (c *rehearseDetectorCmd) settings(rec detector.Recording) (detector.Config, error) {
	text := recordedSettings(rec.Header.Settings)
	if c.Config != "" {
		raw, err := os.ReadFile(c.Config)
		if err != nil {
			return detector.Config{}, fmt.Errorf("%w: --config: %w", errUsage, err)
		}
		f, err := config.Parse(c.Config, raw)
		if err != nil {
			return detector.Config{}, fmt.Errorf("%w: --config:\n%w", errUsage, err)
		}
		if len(c.Set) == 0 {
			return detector.FromFile(f), nil
		}
		return detector.Config{}, usagef("--config and --set: give one of them")
	}
	for _, kv := range c.Set {
		key, value, ok := strings.Cut(kv, "=")
		if !ok || key == "" {
			return detector.Config{}, usagef("--set %q: write KEY=VALUE, such as phi_threshold=6", kv)
		}
		switch key {
		case "algorithm":
			delete(text, "phi_threshold")
			delete(text, "target_mistakes_per_day")
		case "phi_threshold":
			delete(text, "target_mistakes_per_day")
		case "target_mistakes_per_day":
			delete(text, "phi_threshold")
		}
		text[key] = value
	}
	for _, kv := range c.Set { // a threshold set before its algorithm
		if key, value, _ := strings.Cut(kv, "="); key != "algorithm" {
			text[key] = value
		}
	}
	f, err := config.Parse("--set", settingsYAML(text, rec.Header.Settings.StartDeadline))
	if err != nil {
		return detector.Config{}, fmt.Errorf("%w:\n%w", errUsage, err)
	}
	cfg := detector.FromFile(f)
	cfg.Agents = rec.Settings().Agents
	return cfg, nil
}

// recordedSettings are the recorded keys of failure_detection as text.
func recordedSettings(s contracts.DetectionSettings) map[string]string {
	out := map[string]string{}
	put := func(key, value string, given bool) {
		if given {
			out[key] = value
		}
	}
	number := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	put("algorithm", s.Algorithm, s.Algorithm != "")
	put("phi_threshold", number(s.PhiThreshold), s.PhiThreshold > 0)
	put("target_mistakes_per_day", number(s.TargetMistakesPerDay), s.TargetMistakesPerDay > 0)
	put("sampling_window_size", strconv.Itoa(s.SamplingWindowSize), s.SamplingWindowSize > 0)
	put("failure_threshold", strconv.Itoa(s.FailureThreshold), s.FailureThreshold > 0)
	put("min_samples", strconv.Itoa(s.MinSamples), s.MinSamples > 0)
	put("heartbeat_interval", s.HeartbeatInterval.String(), s.HeartbeatInterval > 0)
	put("min_std_deviation", s.MinStdDeviation.String(), s.MinStdDeviation > 0)
	put("max_std_deviation", s.MaxStdDeviation.String(), s.MaxStdDeviation > 0)
	return out
}

// settingsYAML is a configuration of these settings alone.
func settingsYAML(settings map[string]string, startDeadline contracts.Duration) []byte {
	var b strings.Builder
	b.WriteString("supervision_tree:\n  failure_detection:\n")
	keys := make([]string, 0, len(settings))
	for k := range settings {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		fmt.Fprintf(&b, "    %q: %s\n", k, settings[k])
	}
	if startDeadline > 0 {
		fmt.Fprintf(&b, "  verification: {start_deadline: %s}\n", startDeadline)
	}
	return []byte(b.String())
}

func (p rehearsedPair) print(a *app) error {
	row := func(what string, f func(detector.Rehearsed) string) []string {
		return []string{what, f(p.Recorded), f(p.Rehearsed)}
	}
	count := func(f func(detector.Verdicts) int) func(detector.Rehearsed) string {
		return func(r detector.Rehearsed) string { return strconv.Itoa(f(r.All)) }
	}
	fmt.Fprintf(a.stdout, "%d heartbeats of %d agents in %s\n\n", p.Recorded.All.Heartbeats, len(p.Recorded.Agents), round(p.Recorded.Length.D()))
	if err := a.table([]string{"", "RECORDED", "REHEARSED"}, [][]string{
		row("algorithm", func(r detector.Rehearsed) string { return r.Settings.Algorithm }),
		row("threshold", threshold),
		row("verdicts", count(func(v detector.Verdicts) int { return v.Verdicts })),
		row("  of them mistakes", count(func(v detector.Verdicts) int { return v.Mistakes })),
		row("  which stood for", func(r detector.Rehearsed) string { return round(r.All.Mistaken.D()) }),
		row("mistakes per agent and day", func(r detector.Rehearsed) string { return strconv.FormatFloat(r.All.PerDay, 'g', 3, 64) }),
		row("silence found after", func(r detector.Rehearsed) string { return middle(r.All.Found) }),
		row("a death is found after", func(r detector.Rehearsed) string {
			return fmt.Sprintf("%s, %.2f intervals", round(r.All.Time.D()), r.All.Mean)
		}),
		row("  median, 99th percentile", func(r detector.Rehearsed) string {
			return fmt.Sprintf("%.2f, %.2f intervals", r.All.Median, r.All.Worst)
		}),
	}); err != nil {
		return err
	}
	var rows [][]string
	for i, x := range p.Recorded.Agents {
		y := p.Rehearsed.Agents[i]
		if x.Verdicts+y.Verdicts == 0 {
			continue
		}
		rows = append(rows, []string{
			x.Agent, versus(x.Verdicts, y.Verdicts), versus(x.Mistakes, y.Mistakes), versus(middle(x.Found), middle(y.Found)),
			versus(fmt.Sprintf("%.2f", x.Mean), fmt.Sprintf("%.2f", y.Mean)),
		})
	}
	if len(rows) == 0 {
		return nil
	}
	fmt.Fprintln(a.stdout)
	return a.table([]string{"AGENT", "VERDICTS", "MISTAKES", "FOUND AFTER", "INTERVALS"}, rows)
}

func threshold(r detector.Rehearsed) string {
	switch s := r.Settings; {
	case s.PhiThreshold > 0:
		return strconv.FormatFloat(s.PhiThreshold, 'g', -1, 64)
	case s.TargetMistakesPerDay > 0:
		return fmt.Sprintf("for %g mistakes per day", s.TargetMistakesPerDay)
	}
	return "its own"
}

// middle is the median of sorted durations.
func middle(d []contracts.Duration) string {
	if len(d) == 0 {
		return "-"
	}
	return round(time.Duration(d[len(d)/2]))
}
