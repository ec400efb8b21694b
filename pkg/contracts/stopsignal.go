package contracts

import (
	"fmt"
	"strings"
)

// StopSignal is a signal by which programs are told to stop.
type StopSignal string

// Signals that programs take as an order to stop.
const (
	StopTERM  StopSignal = "SIGTERM" // the default
	StopINT   StopSignal = "SIGINT"
	StopQUIT  StopSignal = "SIGQUIT"
	StopHUP   StopSignal = "SIGHUP"
	StopUSR1  StopSignal = "SIGUSR1"
	StopUSR2  StopSignal = "SIGUSR2"
	StopWINCH StopSignal = "SIGWINCH"
)

// StopSignals lists them, the default first.
var StopSignals = []StopSignal{StopTERM, StopINT, StopQUIT, StopHUP, StopUSR1, StopUSR2, StopWINCH}

// Validate reports why it is not such a signal, or nil; empty is the default.
func (s StopSignal) Validate() error {
	if s == "" {
		return nil
	}
	names := make([]string, len(StopSignals))
	for i, known := range StopSignals {
		if s == known {
			return nil
		}
		names[i] = string(known)
	}
	return fmt.Errorf("%.32q is not a signal to stop by; use one of %s", string(s), strings.Join(names, ", "))
}
