package restart

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait.
const patience = time.Minute

// sign is what a process says when it runs.
type sign struct {
	name string
	pid  int
	at   time.Time
}

// peer is a supervisor with its processes, each known by its pid.
type peer struct {
	b     *testing.B
	signs chan sign
	pids  map[string]int
}

// newPeer starts a supervisor, which is given a FIFO for its processes' signs, and
// waits until all of them run.
func newPeer(b *testing.B, count int, command func(fifo string) *exec.Cmd) *peer {
	b.Helper()
	fifo := filepath.Join(b.TempDir(), "signs")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		b.Fatal(err)
	}
	f, err := os.OpenFile(fifo, os.O_RDWR, 0) // for writing, too: it has no end then
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	p := &peer{b: b, signs: make(chan sign, 4*count), pids: map[string]int{}}
	go p.read(f)
	cmd := command(fifo)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { p.end(cmd) })
	for range count {
		p.next()
	}
	return p
}

func (p *peer) read(f *os.File) {
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, pid, _ := strings.Cut(lines.Text(), " ")
		n, err := strconv.Atoi(pid)
		if err != nil {
			continue
		}
		p.signs <- sign{name, n, time.Now()}
	}
}

// next waits for the next process to run.
func (p *peer) next() sign {
	p.b.Helper()
	select {
	case s := <-p.signs:
		p.pids[s.name] = s.pid
		return s
	case <-time.After(patience):
		p.b.Fatalf("no process has started for %s", patience)
		return sign{}
	}
}

// end ends the supervisor, and what it has left.
func (p *peer) end(cmd *exec.Cmd) {
	_ = cmd.Process.Signal(syscall.SIGTERM)
	over := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	_ = cmd.Wait()
	over.Stop()
	for len(p.signs) > 0 {
		p.next()
	}
	for _, pid := range p.pids {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// one kills one process, and returns how long it takes until it runs again.
func (p *peer) one(name string) time.Duration {
	p.b.Helper()
	begin := time.Now()
	if err := syscall.Kill(p.pids[name], syscall.SIGKILL); err != nil {
		p.b.Fatal(err)
	}
	return p.next().at.Sub(begin)
}

// all kills all processes, and returns how long it takes until all run again.
func (p *peer) all() time.Duration {
	p.b.Helper()
	begin, last := time.Now(), time.Time{}
	for _, pid := range p.pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			p.b.Fatal(err)
		}
	}
	for range len(p.pids) {
		last = p.next().at
	}
	return last.Sub(begin)
}

// bare is the floor, a loop that does nothing but start what has ended.
func bare(b *testing.B, count int) *peer {
	return newPeer(b, count, func(fifo string) *exec.Cmd {
		cmd := exec.Command(os.Args[0], fifo, strconv.Itoa(count))
		cmd.Env = append(os.Environ(), asBareLoop+"=1")
		return cmd
	})
}

// erlang is a supervisor of ports; nil where there is no Erlang.
func erlang(b *testing.B, count int) *peer {
	if _, err := exec.LookPath("escript"); err != nil {
		return nil
	}
	return newPeer(b, count, func(fifo string) *exec.Cmd {
		return exec.Command("escript", "testdata/ports.escript", fifo, strconv.Itoa(count))
	})
}

// smith is `smith up`: runner, log, supervisor and all the rest, without a delay of
// restarts.
func smith(b *testing.B, count int) *peer {
	dir, program := b.TempDir(), build(b, "smith")
	return newPeer(b, count, func(fifo string) *exec.Cmd {
		var tree strings.Builder
		tree.WriteString("supervision_tree:\n  restart_policies:\n    now: {max_restarts: 10000, time_window: 1s, restart_delay: 0s}\n  root_restart_policy: now\n  tree:\n")
		for i := range count {
			fmt.Fprintf(&tree, "    - {name: %s, heartbeats: runner, policy: now, command: [", agent(i))
			for _, arg := range command(agent(i), fifo) {
				fmt.Fprintf(&tree, "%q, ", arg)
			}
			tree.WriteString("]}\n")
		}
		file := filepath.Join(dir, "config.yaml")
		if err := os.WriteFile(file, []byte(tree.String()), 0o600); err != nil {
			b.Fatal(err)
		}
		return exec.Command(program, "up", "--config", file, "--store-dir", filepath.Join(dir, "store"), "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--log-level", "error")
	})
}
