package connection

import "time"

// Rivals tells two processes that beat under one name from one that restarts.
//
// Heartbeats count from 1 in each process. Where two alternate, the number goes
// back again and again, and each time both of the numbers, the one it went back
// from and the one it went back to, are higher than the time before. A process
// that restarts goes back too, but to the beginning; and one that does not
// count repeats itself.
type Rivals struct {
	limit int
	seen  map[string]*rival
}

type rival struct {
	incarnation uint64
	// crossings are the latest two, so that three processes are found as well.
	crossings [2]crossing
	times     int
	at        Instant
	reported  bool
}

// crossing is a number that came after a higher one.
type crossing struct{ seq, last uint64 }

func (c crossing) above(d crossing) bool { return d != crossing{} && c.seq > d.seq && c.last > d.last }

// enough is how often in a row the numbers must have grown between crossings.
const enough = 2

// forget is how long after numbers went back the last time it is forgotten.
const forget = 10 * time.Minute

// NewRivals remembers at most so many agents.
func NewRivals(limit int) *Rivals { return &Rivals{limit: limit, seen: map[string]*rival{}} }

// WentBack says that heartbeat seq came after heartbeat last. It tells, once,
// when two processes must be beating.
func (r *Rivals) WentBack(now Instant, agent string, incarnation, seq, last uint64) bool {
	x := r.seen[agent]
	if x == nil {
		if len(r.seen) >= r.limit {
			r.tidy(now)
		}
		if len(r.seen) >= r.limit {
			return false
		}
		x = &rival{}
		r.seen[agent] = x
	}
	if x.incarnation != incarnation || now-x.at >= forget {
		*x = rival{incarnation: incarnation}
	}
	c := crossing{seq, last}
	if c.above(x.crossings[0]) || c.above(x.crossings[1]) {
		x.times++
	} else {
		x.times = 0
	}
	x.crossings[0], x.crossings[1], x.at = c, x.crossings[0], now
	if x.times < enough || x.reported {
		return false
	}
	x.reported = true
	return true
}

func (r *Rivals) tidy(now Instant) {
	for agent, x := range r.seen {
		if now-x.at >= forget {
			delete(r.seen, agent)
		}
	}
}
