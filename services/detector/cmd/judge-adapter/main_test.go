package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mistersmith/mistersmith/services/detector/internal/fleet"
)

func TestProtocol(t *testing.T) {
	var in strings.Builder
	fmt.Fprintln(&in, "V 1 tick_us=10000")
	fmt.Fprintln(&in, "? unknown lines are ignored")
	now := int64(1_000_000)
	tick := func(until int64) {
		for ; now <= until; now += 10_000 {
			fmt.Fprintln(&in, "T", now)
		}
	}
	for seq := range 20 {
		at := int64(1_000_000 * (seq + 2))
		tick(at)
		fmt.Fprintf(&in, "H %d 7 %d 1000000\n", at, seq+1)
	}
	tick(40_000_000)
	fmt.Fprintln(&in, "H 40000000 7 21 1000000\nE\nT 99")
	var out strings.Builder
	if err := judge(strings.NewReader(in.String()), &out, fleet.Config{}); err != nil {
		t.Fatal(err)
	}
	var at int64
	if n, err := fmt.Sscanf(out.String(), "S %d 7\nU 40000000 7\n", &at); n != 1 || err != nil {
		t.Fatalf("wrote %q: %v", out.String(), err)
	}
	if at < 22_000_000 || at > 27_000_000 {
		t.Errorf("suspected at %d, last heard at 21000000", at)
	}
}

func FuzzJudge(f *testing.F) {
	f.Add("V 1 tick_us=0\nT 1\nH 1 0 1 1000000\nT 99999999\nH 5 0 1 -7\nE\n")
	f.Add("H 9223372036854775807 a 18446744073709551615 9223372036854775807\nT 0\n\nV 1 tick_us=x\n")
	f.Fuzz(func(t *testing.T, in string) {
		if len(in) > 1<<12 {
			return
		}
		var out strings.Builder
		_ = judge(strings.NewReader(in), &out, fleet.Config{})
	})
}
