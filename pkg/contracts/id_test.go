package contracts

import (
	"errors"
	"strings"
	"testing"
)

// badIDs are what no id may be; every parser must refuse them too.
var badIDs = []string{
	"", " ", ".", "a.b", "a b", "a\tb", "a\nb", "*", ">", "a*", "a>", "a/b", "../x", "a:b", "é", "\x00", "\xff", "a\x7f",
	strings.Repeat("x", MaxIDLength+1), strings.Repeat("x", 10<<10),
}

func TestValidateID(t *testing.T) {
	for _, id := range []string{"a", "Z", "0", "_", "-", "worker-1", "A_b-9", strings.Repeat("x", MaxIDLength)} {
		if err := ValidateID(id); err != nil {
			t.Errorf("ValidateID(%q) = %v, want nil", id, err)
		}
	}
	for _, id := range badIDs {
		err := ValidateID(id)
		if !errors.Is(err, ErrInvalidID) {
			t.Errorf("ValidateID(%.40q) = %v, want ErrInvalidID", id, err)
		} else if len(err.Error()) > 400 {
			t.Errorf("ValidateID(%.40q): the message has %d bytes; a long id must not make a long message", id, len(err.Error()))
		}
	}
}

func TestValidateIDSaysWhere(t *testing.T) {
	err := ValidateID("work.er")
	if err == nil || !strings.Contains(err.Error(), `'.' at byte 4`) {
		t.Errorf("ValidateID(work.er) = %v, want the bad byte and its place", err)
	}
}

func FuzzValidateID(f *testing.F) {
	f.Add("worker-1")
	for _, id := range badIDs {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		err := ValidateID(id)
		if (err == nil) != isToken(id) {
			t.Fatalf("ValidateID(%q) = %v", id, err)
		}
		if err == nil && strings.Count(HeartbeatSubject(id), ".") != 2 {
			t.Fatalf("%q is valid, but is not one token", id)
		}
	})
}

// isToken says the rule of ids in other words than ValidateID does.
func isToken(s string) bool {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
	return s != "" && len(s) <= 64 && strings.Trim(s, alphabet) == "" && len(strings.Map(func(r rune) rune {
		if strings.ContainsRune(alphabet, r) {
			return r
		}
		return -1
	}, s)) == len(s)
}
