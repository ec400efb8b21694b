package diagnosis

import (
	"maps"
	"slices"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/supervisor/internal/tree"
)

// Scaled lists the templates of a supervisor that have another count by order than by
// their configuration, in order of their names.
func Scaled(st *tree.State) []contracts.ScaledTemplate {
	if st.Supervisor == nil {
		return nil
	}
	var out []contracts.ScaledTemplate
	for _, template := range slices.Sorted(maps.Keys(st.Supervisor.Scaled)) {
		s := st.Supervisor.Scaled[template]
		out = append(out, contracts.ScaledTemplate{Template: template, Count: s.Count, Configured: s.Configured})
	}
	return out
}
