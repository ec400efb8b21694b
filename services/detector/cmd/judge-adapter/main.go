// Command judge-adapter lets a recorded or simulated stream of heartbeats be
// judged: it reads them from standard input and writes when the detector's core
// begins to suspect an agent and when it trusts it again. Times are
// microseconds of the detector's own clock, never decreasing.
//
// It reads "V 1 tick_us=N" once, "H <t> <agent> <seq> <interval_us>" for a
// heartbeat, where the agent's type may follow, "T <t>" for a tick and "E" for
// the end, and writes "S <t> <agent>" and "U <t> <agent>".
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/mistersmith/mistersmith/services/detector/internal/fleet"
	"github.com/mistersmith/mistersmith/services/detector/internal/suspicion"
)

func main() {
	algorithm := flag.String("algorithm", "", "tail (default), normal or fixed")
	threshold := flag.Float64("threshold", 0, "phi_threshold; 0 is the algorithm's own")
	flag.Parse()
	a, err := suspicion.ParseAlgorithm(*algorithm)
	if err == nil {
		err = judge(os.Stdin, os.Stdout, fleet.Config{Suspicion: suspicion.Settings{Algorithm: a}, Threshold: *threshold})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "judge-adapter:", err)
		os.Exit(1)
	}
}

// judge runs the protocol from r to w.
func judge(r io.Reader, w io.Writer, cfg fleet.Config) error {
	out := bufio.NewWriter(w)
	defer out.Flush()
	var f *fleet.Fleet
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) == 0 {
			continue
		}
		if words[0] == "V" {
			for _, word := range words {
				if us, ok := strings.CutPrefix(word, "tick_us="); ok {
					cfg.Tick = micros(us)
				}
			}
		}
		if f == nil {
			var err error
			if f, err = fleet.New(cfg); err != nil {
				return err
			}
		}
		switch {
		case words[0] == "T" && len(words) == 2:
			report(out, words[1], f.Tick(micros(words[1])))
		case words[0] == "H" && (len(words) == 5 || len(words) == 6):
			seq, _ := strconv.ParseUint(words[3], 10, 64)
			about := fleet.About{Interval: micros(words[4])}
			if len(words) == 6 {
				about.Type = words[5]
			}
			report(out, words[1], f.Beat(micros(words[1]), fleet.Beat{Agent: words[2], Seq: seq, About: about}))
		case words[0] == "E":
			return out.Flush()
		}
	}
	return lines.Err()
}

func report(out io.Writer, t string, found []fleet.Finding) {
	for _, fd := range found {
		switch fd.Kind {
		case fleet.Failed:
			fmt.Fprintln(out, "S", t, fd.Agent)
		case fleet.Recovered:
			fmt.Fprintln(out, "U", t, fd.Agent)
		}
	}
}

func micros(s string) time.Duration {
	us, _ := strconv.ParseInt(s, 10, 64)
	return time.Duration(us) * time.Microsecond
}
