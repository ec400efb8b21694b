package traces

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/services/detector/internal/tape"
)

func TestTraces(t *testing.T) {
	const hours = 4
	all := Make(7, hours*time.Hour)
	if !reflect.DeepEqual(all, Make(7, hours*time.Hour)) {
		t.Error("the same seed gives other traces")
	}
	if reflect.DeepEqual(all[0], Make(8, hours*time.Hour)[0]) {
		t.Error("another seed gives the same traces")
	}
	share := map[string][2]float64{ // of heartbeats that arrive
		"quiet": {1, 1}, "regular": {1, 1}, "loss 1 %": {0.985, 0.995}, "loss 5 %": {0.94, 0.96}, "bursts of loss": {0.98, 0.9995}, "pauses": {1, 1},
	}
	for _, tr := range all {
		beats, stalls := 0, 0
		var last tape.Entry
		for _, e := range tr.Entries {
			if e.At < last.At || e.Kind == tape.Beat && e.Seq <= last.Seq {
				t.Fatalf("%s: %+v after %+v", tr.Name, e, last)
			}
			if e.Kind == tape.Stalled {
				stalls++
				continue
			}
			beats++
			last = e
		}
		got := float64(beats) / float64(last.Seq)
		if want, ok := share[tr.Name]; ok && (got < want[0] || got > want[1]) {
			t.Errorf("%s: %.4f of the heartbeats arrive, want %v", tr.Name, got, want)
		}
		if (stalls > 0) != (tr.Name == "stalls of the detector") || beats < hours*3600/3 {
			t.Errorf("%s: %d heartbeats, %d stalls", tr.Name, beats, stalls)
		}
	}
	if !slices.Contains(Names(), "daily load") || len(Names()) != len(all) {
		t.Error(Names())
	}
}
