package describe

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// Why writes the causal chain of a restart, a line for each link.
func Why(w io.Writer, why contracts.WhyReply) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "TIME\tEVENT\tENTITY\tEVIDENCE")
	for _, l := range why.Chain {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", l.Time.Local().Format("15:04:05.000"), strings.TrimPrefix(string(l.Type), "smith."), l.Entity, l.Evidence)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if !why.Complete {
		fmt.Fprintln(w, "(the beginning is no longer stored)")
	}
	if why.Note != "" {
		fmt.Fprintln(w, why.Note)
	}
	return nil
}
