package fleet

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// A runner that has no descriptors left starts nothing and says so; when there
// are some, the same incarnation starts.
func TestNoDescriptors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := startRemote(t, dir)
	first := r.start(script("a", 1, forever))
	if first.Code != contracts.RunnerOK {
		t.Fatalf("%+v", first)
	}
	var before unix.Rlimit
	limit := func(set *unix.Rlimit) {
		if err := unix.Prlimit(r.cmd.Process.Pid, unix.RLIMIT_NOFILE, set, &before); err != nil {
			t.Fatal(err)
		}
	}
	limit(nil)
	all := before
	limit(&unix.Rlimit{Cur: 4, Max: all.Max})
	for range 3 {
		if reply := r.start(script("b", 1, forever)); reply.Code != contracts.RunnerNoResources || reply.Error == "" {
			t.Fatalf("without descriptors: %+v", reply)
		}
	}
	limit(&all)
	if reply := r.start(script("b", 1, forever)); reply.Code != contracts.RunnerOK {
		t.Errorf("with descriptors: %+v", reply)
	}
	if reply := r.start(script("a", 1, forever)); reply.PID != first.PID {
		t.Errorf("what ran does not run on: %+v", reply)
	}
	r.kill()
	again := open(t, dir)
	if got := again.List(); len(got) != 2 || got[0].State != contracts.AgentRunning || got[1].State != contracts.AgentRunning {
		t.Errorf("a successor finds %+v", got)
	}
}
