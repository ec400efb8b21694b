package fleet

import (
	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner/internal/ledger"
)

// blame returns what the end of a program is charged to, and what did it where that
// was the host. Host is what has happened to the host, or empty. An order comes first:
// an agent that was to end anyway is not restarted because its host went down
// meanwhile. How the program ended says nothing about who ended it.
func blame(rec ledger.Record, host string) (_ contracts.Blame, how string) {
	switch {
	case rec.Stop != nil:
		return contracts.BlameOrder, ""
	case rec.Cut != "":
		return contracts.BlameHost, rec.Cut
	case host != "":
		return contracts.BlameHost, host
	}
	return contracts.BlameAgent, ""
}
