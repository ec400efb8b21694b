package watch

import (
	"hash/fnv"
	"time"

	"github.com/mistersmith/mistersmith/services/detector/internal/fleet"
)

// peerPatience is how long after its last canary a detector is taken for one
// that works; maxPeers bounds how many are remembered.
const (
	peerPatience = 1500 * time.Millisecond
	maxPeers     = 64
)

// peers are the detectors that watch the same fleet. All of them judge all
// agents and publish the same verdicts, which collapse into one by their ids.
// What has no identity of its own, such as a change of band, is told by one of
// them only: for each agent the one that rendezvous hashing chooses (Thaler and
// Ravishankar, 1998) among those that sing.
type peers struct {
	self string
	last map[string]fleet.Instant
}

func newPeers(self string) peers { return peers{self, map[string]fleet.Instant{}} }

func (p *peers) heard(now fleet.Instant, instance string) {
	if _, known := p.last[instance]; !known && len(p.last) >= maxPeers {
		p.tidy(now)
		if len(p.last) >= maxPeers {
			return
		}
	}
	p.last[instance] = now
}

func (p *peers) tidy(now fleet.Instant) {
	for name, at := range p.last {
		if now-at > peerPatience {
			delete(p.last, name)
		}
	}
}

// count is how many detectors work, this one included.
func (p *peers) count(now fleet.Instant) int {
	n := 1
	for name, at := range p.last {
		if name != p.self && now-at <= peerPatience {
			n++
		}
	}
	return n
}

// speaks tells whether this detector is the one to tell what only one should.
func (p *peers) speaks(now fleet.Instant, about string) bool {
	own := weight(p.self, about)
	for name, at := range p.last {
		if name == p.self || now-at > peerPatience {
			continue
		}
		if w := weight(name, about); w > own || w == own && name > p.self {
			return false
		}
	}
	return true
}

func weight(instance, about string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(instance))
	_, _ = h.Write([]byte{0})
	_, _ = h.Write([]byte(about))
	// FNV's high bits hardly depend on the last bytes: mix (Steele et al.,
	// SplitMix64).
	x := h.Sum64()
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
