package suspicion

import "testing"

func TestTally(t *testing.T) {
	var c tally
	dice := uint32(1)
	for n := uint32(1); n <= 200_000; n++ {
		dice ^= dice << 13
		dice ^= dice >> 17
		dice ^= dice << 5
		c.grow(dice)
		switch v := c.value(); {
		case n <= 32 && v != n:
			t.Fatalf("%d counted as %d, must be exact", n, v)
		case float64(v) < 0.6*float64(n) || float64(v) > 1.6*float64(n):
			t.Fatalf("%d counted as %d", n, v)
		}
	}
	for i := range 256 {
		c := tally(i)
		before := c.value()
		if c.halve(); c.value() != before/2 {
			t.Fatalf("half of %d is %d", before, c.value())
		}
	}
	c = 255
	if c.grow(0); c != 255 {
		t.Fatal("a full tally overflows")
	}
}
