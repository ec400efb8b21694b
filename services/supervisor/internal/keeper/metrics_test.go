package keeper

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// registry takes note of the names that are registered.
type registry struct {
	prometheus.Registerer
	names []string
}

func (r *registry) Register(c prometheus.Collector) error {
	descs := make(chan *prometheus.Desc, 1)
	c.Describe(descs)
	r.names = append(r.names, regexp.MustCompile(`fqName: "(\w+)"`).FindStringSubmatch((<-descs).String())[1])
	return r.Registerer.Register(c)
}

// TestMetricsAreDocumented: the table in docs/supervision/metrics.md lists what there
// is, and nothing else.
func TestMetricsAreDocumented(t *testing.T) {
	t.Parallel()
	r := &registry{Registerer: prometheus.NewRegistry()}
	NewMetrics(r, "main")
	text, err := os.ReadFile("../../../../docs/supervision/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| (?:counter|gauge|histogram)").FindAllStringSubmatch(string(text), -1) {
		listed = append(listed, m[1])
	}
	slices.Sort(listed)
	slices.Sort(r.names)
	if len(listed) < 10 || !slices.Equal(listed, r.names) {
		t.Errorf("listed in docs/supervision/metrics.md:\n%q\nregistered:\n%q", listed, r.names)
	}
}
