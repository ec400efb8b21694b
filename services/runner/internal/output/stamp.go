package output

import (
	"bytes"
	"time"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// stamper makes output lines of what an agent prints.
type stamper struct {
	// most bounds the text of a line.
	most int
	// mid says that a line has begun and not ended, of which n bytes are text.
	mid bool
	n   int
	// cut says that the last line was ended although its text goes on.
	cut bool
}

// stamp appends text to dst as lines that begin at a time, until it ends or a
// line has ended and dst has room bytes. It returns the text that is left. What is
// appended need not end a line: the next text continues it.
func (s *stamper) stamp(dst, text []byte, at time.Time, room int) (lines, left []byte) {
	var scratch [64]byte // which AppendFormat needs more of than it fills
	prefix := contracts.AppendOutputPrefix(scratch[:0], at, contracts.OutputText)
	for len(text) > 0 {
		if !s.mid {
			if len(dst) >= room {
				break
			}
			prefix[len(prefix)-1] = byte(contracts.OutputText)
			if s.cut {
				prefix[len(prefix)-1] = byte(contracts.OutputRest)
			}
			dst = append(dst, prefix...)
			s.mid, s.n, s.cut = true, 0, false
		}
		line, ended := text, false
		if i := bytes.IndexByte(text, '\n'); i >= 0 {
			line, ended = text[:i], true
		}
		if fits := s.most - s.n; len(line) > fits {
			line, ended, s.cut = line[:fits], true, true
		}
		dst = append(dst, line...)
		s.n += len(line)
		text = text[len(line):]
		if ended {
			dst = append(dst, '\n')
			s.mid = false
			if !s.cut {
				text = text[1:]
			}
		}
	}
	return dst, text
}
