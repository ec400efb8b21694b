package contracts_test

import (
	"testing"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// Who ended it comes first: an exit code says something of the agent only where it
// ended by itself.
func TestOutcome(t *testing.T) {
	t.Parallel()
	for how, alone := range map[contracts.Exit]contracts.Outcome{
		{}:                             contracts.OutcomeCompleted,
		{Code: 3}:                      contracts.OutcomeFailed,
		{Code: -1, Signal: "SIGTERM"}:  contracts.OutcomeFailed,
		{Code: -1, Unknown: true}:      contracts.OutcomeFailed,
		{Unknown: true}:                contracts.OutcomeFailed,
		{Code: 137, OutOfMemory: true}: contracts.OutcomeFailed,
	} {
		for blame, want := range map[contracts.Blame]contracts.Outcome{
			contracts.BlameAgent: alone, contracts.BlameHost: contracts.OutcomeLost, contracts.BlameOrder: contracts.OutcomeRequested,
		} {
			how.Blame = blame
			if got := how.Outcome(); got != want {
				t.Errorf("%+v: %s, want %s", how, got, want)
			}
		}
	}
}
