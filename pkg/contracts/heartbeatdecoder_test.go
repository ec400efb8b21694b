package contracts

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// usual is a heartbeat as pkg/agent sends it.
const usual = `{"incarnation":7,"seq":42,"interval":"5s","type":"researcher","capabilities":["web","pdf"],"status":"running","in_flight":2,"capacity":4,"progress":99}`

// The quick decoder says what the strict one says, also about what it has
// remembered.
func FuzzHeartbeatDecoder(f *testing.F) {
	for _, s := range []string{
		"", "{}", " { } ", "null", "[]", usual, strings.ReplaceAll(usual, ",", " ,\n\t"), usual + "x", usual[:80],
		`{"seq":1,"seq":2}`, `{"Seq":1}`, `{"seq":01}`, `{"seq":1.0}`, `{"seq":1e3}`, `{"seq":-1}`, `{"seq":null}`,
		`{"seq":18446744073709551615}`, `{"seq":18446744073709551616}`, `{"in_flight":10001}`, `{"in_flight":-1}`,
		`{"interval":"1h"}`, `{"interval":"2h"}`, `{"interval":"0"}`, `{"interval":""}`, `{"type":""}`, `{"type":"a.b"}`, `{"type":"a\u0062"}`,
		`{"capabilities":[]}`, `{"capabilities":["a",]}`, `{"capabilities":["a" , "b"]}`, `{"capabilities":["a b"]}`, `{"capabilities":null}`,
		`{"status":"busy"}`, `{"status":"stuck","detail":"t\u0031 hangs"}`, `{"runner":"r1"}`, `{"runner":""}`, `{"runner":"no id"}`, `{"status":"happy"}`, `{"status":""}`, `{"busy_until":"2026-03-01T12:00:00Z"}`, `{"busy_until":"2026-03-01T12:00:00+25:00"}`,
		`{"mood":"fine"}`, `{"seq":1,}`, `{,}`, `{"seq"}`, "{\"type\":\"\xff\"}", `{"seq":1}{"seq":2}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var d HeartbeatDecoder
		want, wantErr := DecodeHeartbeat(body)
		for range 2 {
			got, err := d.Decode(body)
			if fmt.Sprint(err) != fmt.Sprint(wantErr) {
				t.Fatalf("%q: error %v, want %v", body, err, wantErr)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%q (-want +got):\n%s", body, diff)
			}
		}
	})
}

// What agents send must take the short way, or the detector is slow with
// nobody knowing.
func TestHeartbeatDecoderMakesNoGarbage(t *testing.T) {
	until := time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)
	long, err := json.Marshal(Heartbeat{
		Incarnation: 1, Seq: 1 << 40, Interval: Duration(1500 * time.Millisecond), Type: "coder", Capabilities: []string{"go", "rust"},
		Status: StatusBusy, InFlight: 1, Capacity: 10, Progress: 3, BusyUntil: &until,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{"", "{}", usual, string(long)} {
		var d HeartbeatDecoder
		raw := []byte(body)
		if n := testing.AllocsPerRun(100, func() {
			if _, err := d.Decode(raw); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %g allocations", body, n)
		}
	}
}

// Whoever tells something new each time does not make it grow.
func TestHeartbeatDecoderForgets(t *testing.T) {
	var d HeartbeatDecoder
	for i := range 10 * maxRemembered {
		if _, err := d.Decode(fmt.Appendf(nil, `{"type":"t%d","capabilities":["c%d"],"interval":"%dms"}`, i, i, 10+i)); err != nil {
			t.Fatal(err)
		}
	}
	if len(d.ids) > maxRemembered || len(d.lists) > maxRemembered || len(d.intervals) > maxRemembered {
		t.Errorf("%d ids, %d lists and %d intervals are remembered", len(d.ids), len(d.lists), len(d.intervals))
	}
}

func BenchmarkHeartbeatDecoder(b *testing.B) {
	body := []byte(usual)
	b.Run("quick", func(b *testing.B) {
		var d HeartbeatDecoder
		for b.Loop() {
			if _, err := d.Decode(body); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("strict", func(b *testing.B) {
		for b.Loop() {
			if _, err := DecodeHeartbeat(body); err != nil {
				b.Fatal(err)
			}
		}
	})
}
