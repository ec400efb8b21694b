package contracts

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestConfigText: what is packed is the text again, fits a request, and is refused where
// it would not.
func TestConfigText(t *testing.T) {
	t.Parallel()
	random := func(n int) string {
		b := make([]byte, n)
		for r, i := rand.New(rand.NewPCG(1, 2)), 0; i < n; i++ {
			b[i] = byte('!' + r.IntN(90))
		}
		return string(b)
	}
	for name, c := range map[string]struct {
		text   string
		packed bool
		err    error
	}{
		"nothing":          {"", false, nil},
		"a small file":     {strings.Repeat("<&\x00\"", plainConfigBytes/4), false, nil},
		"1,500 agents":     {strings.Repeat("        - {name: a, command: [sleep, \"1\"], env: {A: <&>}}\n", 5000), true, nil},
		"as long as it is": {strings.Repeat("12345678", MaxConfigBytes/8), true, nil},
		"longer":           {strings.Repeat("12345678", MaxConfigBytes/8) + ".", true, ErrConfigTooLong},
		"random":           {random(200_000), true, nil},
		"more of that":     {random(300_000), true, ErrConfigTooLong},
	} {
		sent, err := PackConfig(c.text)
		if !errors.Is(err, c.err) || (len(sent.Packed) > 0) != c.packed {
			t.Errorf("%s: packed to %d bytes, %v", name, len(sent.Packed), err)
		}
		if err != nil {
			continue
		}
		if got, err := sent.Text(); got != c.text || err != nil {
			t.Errorf("%s: it is %d bytes and was %d, %v", name, len(got), len(c.text), err)
		}
		if body, err := json.Marshal(ConfigRequest{ConfigText: sent}); err != nil || len(body) > MaxRequestBytes {
			t.Errorf("%s: the request has %d bytes, %v", name, len(body), err)
		}
	}
	bomb, err := gzipped(strings.Repeat(" ", 64<<20))
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []ConfigText{{Packed: bomb}, {Packed: []byte("text")}, {Packed: bomb[:len(bomb)/2]}, {Config: "a", Packed: bomb}} {
		if text, err := bad.Text(); err == nil {
			t.Errorf("read as %d bytes", len(text))
		}
	}
}

// FuzzConfigText: whatever is sent, what is read is bounded.
func FuzzConfigText(f *testing.F) {
	packed, err := gzipped("supervision_tree: {tree: []}")
	if err != nil {
		f.Fatal(err)
	}
	f.Add("", packed)
	f.Add("text", []byte(nil))
	f.Add("", packed[:9])
	f.Fuzz(func(t *testing.T, text string, packed []byte) {
		got, err := ConfigText{Config: text, Packed: packed}.Text()
		if err == nil && len(packed) > 0 && len(got) > MaxConfigBytes {
			t.Errorf("%d bytes", len(got))
		}
	})
}
