package contracts

import (
	"encoding/json"
	"testing"
	"time"
)

func TestDuration(t *testing.T) {
	type box struct {
		D Duration `json:"d,omitempty"`
	}
	for in, want := range map[string]time.Duration{
		`{}`:              0,
		`{"d":null}`:      0,
		`{"d":"0s"}`:      0,
		`{"d":"5s"}`:      5 * time.Second,
		`{"d":"1m30s"}`:   90 * time.Second,
		`{"d":"1.5ms"}`:   1500 * time.Microsecond,
		`{"d":"-1s"}`:     -time.Second,
		`{"d":"\u0031s"}`: time.Second,
	} {
		var b box
		if err := json.Unmarshal([]byte(in), &b); err != nil || b.D.D() != want {
			t.Errorf("%s: %s, %v; want %s", in, b.D, err, want)
		}
	}
	for _, in := range []string{`{"d":5}`, `{"d":""}`, `{"d":"5"}`, `{"d":"5 s"}`, `{"d":"soon"}`, `{"d":["5s"]}`, `{"d":"1e30s"}`, `{"d":true}`} {
		var b box
		if err := json.Unmarshal([]byte(in), &b); err == nil {
			t.Errorf("%s: accepted as %s", in, b.D)
		}
	}
}

func FuzzDuration(f *testing.F) {
	for _, s := range []string{`"5s"`, `"1m30s"`, `null`, `5`, `""`, `"-1ns"`, `"9223372036854775807ns"`, `"2562047h47m16.854775807s"`, `"1d"`, `{}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var d Duration
		if err := json.Unmarshal(raw, &d); err != nil {
			return
		}
		out, err := json.Marshal(d)
		if err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		var again Duration
		if err := json.Unmarshal(out, &again); err != nil || again != d {
			t.Fatalf("%s is %s, and read again %s, %v", raw, out, again, err)
		}
	})
}
