package process

import (
	"cmp"
	"slices"

	"github.com/mistersmith/mistersmith/services/runner/internal/procfs"
)

// Find looks for a program of which only its files and an entry KEY=VALUE of
// its environment are known: its runner died between starting it and writing
// its pid down. It returns ErrGone when nothing of it lives.
//
// It looks at environments first and at open files second, because a program
// may have closed the files or rewritten its environment, but hardly both
// within the moment in question.
func Find(entry string, files ...string) (Identity, error) {
	epoch, err := CurrentEpoch()
	if err != nil {
		return Identity{}, err
	}
	found := procfs.WithEnv(entry)
	if len(found) == 0 {
		if found, err = Remains(Identity{}, files...); err != nil {
			return Identity{}, err
		}
	}
	if len(found) == 0 {
		return Identity{}, ErrGone
	}
	// The program itself leads its session; what it started came later.
	first := slices.MinFunc(found, func(a, b procfs.Stat) int {
		if la, lb := a.PID == a.Session, b.PID == b.Session; la != lb {
			if la {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.StartTime, b.StartTime)
	})
	return Identity{PID: first.PID, StartTime: first.StartTime, Epoch: epoch}, nil
}
