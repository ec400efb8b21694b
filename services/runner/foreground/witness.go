package foreground

import (
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// A witness is a process of this process's group that does nothing. A signal that
// this process gets is either for it alone, and then the program has yet to get it,
// or for the group, and then the program has it already. The kernel does not say
// which; but the group's signal ends the witness, too. That holds for a terminal's
// Ctrl-C, a shell's `kill %1`, timeout(1), and a service manager that signals each
// process by itself.
//
// It is this very binary under another name, and ends with this process.
type witness struct {
	mu     sync.Mutex
	pid    int
	stdin  io.Closer
	closed bool
	// by is when a witness was last ended by a signal.
	by    map[syscall.Signal]time.Time
	ended chan struct{} // closed and replaced when a witness has ended
}

// witnessName is the name under which the binary is a witness.
const witnessName = "mistersmith-witness"

func init() {
	if len(os.Args) != 1 || os.Args[0] != witnessName {
		return
	}
	dieOfSignals()
	_, _ = io.Copy(io.Discard, os.Stdin) // until the process that it serves has ended
	os.Exit(0)
}

const (
	// testified is how long a witness may take to end by a signal of the group.
	testified = 100 * time.Millisecond
	// sameSignal is for how long such a signal is still the same one: a sender may
	// signal this process and then its group, as timeout(1) does. The next witness
	// is there by then.
	sameSignal = 500 * time.Millisecond
)

func newWitness() *witness {
	w := &witness{by: map[syscall.Signal]time.Time{}, ended: make(chan struct{})}
	w.start()
	return w
}

// start starts a witness. Where it cannot, signals of the group reach the program
// twice.
func (w *witness) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{witnessName}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return
	}
	if err := cmd.Start(); err != nil {
		return
	}
	w.pid, w.stdin = cmd.Process.Pid, stdin
	go func() {
		_ = cmd.Wait()
		if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			w.endedBy(ws.Signal())
			w.start()
		}
	}()
}

func (w *witness) endedBy(s syscall.Signal) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.by[s] = time.Now()
	close(w.ended)
	w.ended = make(chan struct{})
}

// saw reports whether the group got a signal that this process has just got.
func (w *witness) saw(s syscall.Signal) bool {
	limit := time.NewTimer(testified)
	defer limit.Stop()
	for {
		w.mu.Lock()
		seen, ended := time.Since(w.by[s]) < sameSignal, w.ended
		w.mu.Unlock()
		if seen {
			return true
		}
		select {
		case <-ended:
		case <-limit.C:
			return false
		}
	}
}

// is reports whether a child is the witness.
func (w *witness) is(pid int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return pid == w.pid
}

// close ends the witness.
func (w *witness) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	if w.stdin != nil {
		_ = w.stdin.Close()
	}
}
