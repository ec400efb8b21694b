package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner/internal/process"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, dir string) *Ledger {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	l, err := Open(ctx, dir, "r1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func record() Record {
	now := time.Date(2026, 5, 1, 2, 3, 4, 5, time.UTC)
	event, err := contracts.NewEvent("runner/r1", contracts.AgentStarted, "a", now).Data(contracts.AgentStartedData{Agent: "a"}).Build()
	if err != nil {
		panic(err)
	}
	return Record{
		Version: recordVersion, Agent: "a", Highest: 3, State: Running, Token: "t",
		Start:   contracts.StartCommand{Agent: "a", Incarnation: 3, Command: []string{"x"}},
		Process: process.Identity{PID: 12, StartTime: 34, Epoch: "b"}, Started: now,
		Stop: &contracts.StopCommand{Agent: "a", Incarnation: 3}, Outbox: []contracts.Event{event},
	}
}

func TestRecordsSurviveReopening(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir)
	want := record()
	if err := l.Save(want); err != nil {
		t.Fatal(err)
	}
	l.Close()

	l = open(t, dir)
	agents, err := l.Agents()
	if err != nil || len(agents) != 1 || agents[0] != "a" {
		t.Fatalf("Agents = %v, %v", agents, err)
	}
	got, err := l.Load("a")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("record differs (-want +got):\n%s", diff)
	}
	if got, err := l.Load("b"); err != nil || got.Agent != "b" || got.State != Idle {
		t.Errorf("record of an unknown agent: %+v, %v", got, err)
	}
}

func TestCorruptRecordIsSetAside(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir)
	if err := l.Save(record()); err != nil {
		t.Fatal(err)
	}
	path := l.path("a", "record.json")
	if err := os.Truncate(path, 20); err != nil {
		t.Fatal(err)
	}
	rec, err := l.Load("a")
	if !errors.Is(err, ErrCorrupt) || rec.Agent != "a" || rec.Highest != 0 {
		t.Errorf("Load = %+v, %v", rec, err)
	}
	if _, err := os.Stat(path + ".corrupt"); err != nil {
		t.Error(err)
	}
	if _, err := l.Load("a"); err != nil {
		t.Errorf("second Load: %v", err)
	}
}

// Each record takes the place of the one before whole, whatever a killed runner left
// of the one that it was writing.
func TestRecordsOfAllLengthsAreReplaced(t *testing.T) {
	t.Parallel()
	l := open(t, t.TempDir())
	for i, n := range []int{10, 3000, 20, 0, 9000, 9000, 1} {
		rec := record()
		rec.Failure, rec.State = strings.Repeat("x", n), Idle
		write := l.Write
		if i%2 == 1 {
			write = l.Save
		}
		if err := write(rec); err != nil {
			t.Fatal(err)
		}
		got, err := l.Load("a")
		if err != nil || got.Failure != rec.Failure {
			t.Errorf("record %d: %d bytes, want %d, %v", i, len(got.Failure), n, err)
		}
		if err := os.WriteFile(l.path("a", "record.json.before"), []byte(`{"agent": "hal`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSecondRunnerIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open(t, dir)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	_, err := Open(ctx, dir, "r2")
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), `runner "r1"`) || !strings.Contains(err.Error(), dir) {
		t.Errorf("Open = %v, want ErrInUse naming the runner and the directory", err)
	}
}

func TestUnusableStateDirectory(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), file, "r"); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("Open = %v, want an error naming the file", err)
	}
}

func TestLockIsHeldByWhoInheritedIt(t *testing.T) {
	t.Parallel()
	l := open(t, t.TempDir())
	lock, err := l.Lock("a")
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command("/bin/sh", "-c", "read x")
	child.ExtraFiles = []*os.File{lock}
	in, err := child.StdinPipe()
	if err == nil {
		err = child.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	lock.Close()
	if _, err := l.Lock("a"); !errors.Is(err, ErrHeld) {
		t.Errorf("Lock while the child lives: %v, want ErrHeld", err)
	}
	in.Close()
	_ = child.Wait()
	lock, err = l.Lock("a")
	if err != nil {
		t.Fatalf("Lock after the child's end: %v", err)
	}
	lock.Close()
}

func FuzzDecode(f *testing.F) {
	good, err := json.Marshal(record())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"version":1,"agent":"a","state":"running"}`))
	f.Add([]byte(`{"version":2,"agent":"a"}`))
	f.Add([]byte(`{"version":1,"agent":"../x"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Decode(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("error %v is not ErrCorrupt", err)
			}
			return
		}
		if contracts.ValidateID(r.Agent) != nil || r.Incarnation() > r.Highest || r.Live() && r.Token == "" {
			t.Fatalf("accepted %+v", r)
		}
	})
}
