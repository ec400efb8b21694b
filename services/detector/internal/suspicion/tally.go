package suspicion

// tally is a count in one byte: exact up to 32, then a mantissa of 4 bits and
// an exponent, which grow by chance so that the expected value stays right
// (Morris, "Counting large numbers of events in small registers", 1978). The
// rare gaps of which a tail consists are counted exactly; the common ones to
// about a tenth.
type tally uint8

// values are what the tallies stand for.
var values = func() (v [256]uint32) {
	for i := range v {
		if e := i / 16; e == 0 {
			v[i] = uint32(i)
		} else {
			v[i] = uint32(16+i%16) << (e - 1)
		}
	}
	return v
}()

func (t tally) value() uint32 { return values[t] }

// grow counts one more; dice are 32 random bits.
func (t *tally) grow(dice uint32) {
	if *t == 255 {
		return
	}
	if step := values[*t+1] - values[*t]; dice&(step-1) == 0 {
		*t++
	}
}

// halve rounds down.
func (t *tally) halve() {
	if *t >= 32 {
		*t -= 16
		return
	}
	*t = tally(values[*t] / 2)
}
