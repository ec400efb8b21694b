package index

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// victimDir names the directory in which a copy of the test process applies
// entries until it is killed.
const victimDir = "SMITH_INDEX_VICTIM"

func victim(dir string) {
	ix, _, err := Open(Options{Dir: dir, MemTableBytes: 64 << 10})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	for orders := bufio.NewScanner(os.Stdin); orders.Scan(); { // a line, a batch
		from := ix.Position().Reached
		var batch []Entry
		for i := from + 1; i <= from+50; i++ {
			batch = append(batch, Entry{Sequence: i, ID: fmt.Sprint("e", i), Correlation: fmt.Sprint("c", i%7)})
		}
		if _, err := ix.Apply(batch, from+50); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		fmt.Println("reached", from+50)
	}
}

// TestKilledWithoutClose kills a process that applies entries, again and
// again, and finds the index whole each time: everything up to what it says it
// has reached, and nothing beyond.
func TestKilledWithoutClose(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "index")
	best := uint64(0)
	for round := range 2 {
		cmd := exec.Command(os.Args[0])
		orders, err := cmd.StdinPipe() // left open: the process waits for more
		must(t, err)
		cmd.Env = append(os.Environ(), victimDir+"="+dir)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		_, err = orders.Write(bytes.Repeat([]byte("\n"), 40))
		must(t, err)
		lines := bufio.NewScanner(out)
		for n := 0; n < 15*(round+1) && lines.Scan(); n++ {
			if strings.HasPrefix(lines.Text(), "error") {
				t.Fatal(lines.Text())
			}
		}
		must(t, cmd.Process.Signal(syscall.SIGKILL))
		_ = cmd.Wait()

		ix, rebuilt, err := Open(Options{Dir: dir})
		must(t, err)
		reached := ix.Position().Reached
		if rebuilt || reached < best {
			t.Errorf("round %d: reached %d, before %d; rebuilt: %v", round, reached, best, rebuilt)
		}
		best = max(best, reached)
		for i := uint64(1); i <= reached; i += 7 {
			if seq, err := ix.Sequence(fmt.Sprint("e", i)); seq != i || err != nil {
				t.Fatalf("round %d: e%d of %d is at %d, %v", round, i, reached, seq, err)
			}
		}
		if _, err := ix.Sequence(fmt.Sprint("e", reached+1)); !errors.Is(err, ErrUnknown) {
			t.Errorf("round %d: knows more than it has reached (%d): %v", round, reached, err)
		}
		sum := 0
		for c := range 7 {
			sum += len(first(ix.Correlated(fmt.Sprint("c", c), 0, 1e9)))
		}
		if uint64(sum) != reached {
			t.Errorf("round %d: %d correlated of %d", round, sum, reached)
		}
		must(t, ix.Close())
	}
	if best == 0 {
		t.Error("nothing was ever kept")
	}
}

func filled(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "index")
	ix, _, err := Open(Options{Dir: dir})
	must(t, err)
	var batch []Entry
	for i := range uint64(5000) {
		batch = append(batch, Entry{Sequence: i + 1, ID: fmt.Sprint("e", i+1)})
	}
	_, err = ix.Apply(batch, 5000)
	must(t, err)
	must(t, ix.Close())
	return dir
}

func TestKeptOverClose(t *testing.T) {
	t.Parallel()
	ix, rebuilt, err := Open(Options{Dir: filled(t)})
	must(t, err)
	defer ix.Close()
	if ix.Position().Reached != 5000 || rebuilt {
		t.Errorf("position = %+v, rebuilt: %v", ix.Position(), rebuilt)
	}
}

func TestCorruptFilesAreRemoved(t *testing.T) {
	t.Parallel()
	damage := map[string]func(path string) error{
		"MANIFEST-*": func(p string) error { return os.WriteFile(p, []byte("garbage garbage garbage"), 0o600) },
		"*.sst":      os.Remove,
		"OPTIONS-*":  func(p string) error { return os.WriteFile(p, []byte("["), 0o600) },
		"marker.manifest*": func(p string) error {
			return os.Rename(p, filepath.Join(filepath.Dir(p), "marker.manifest.000009.MANIFEST-000099"))
		},
	}
	for pattern, do := range damage {
		t.Run(pattern, func(t *testing.T) {
			t.Parallel()
			dir := filled(t)
			paths, _ := filepath.Glob(filepath.Join(dir, pattern))
			if len(paths) == 0 {
				t.Fatal("nothing to damage")
			}
			for _, p := range paths {
				must(t, do(p))
			}
			ix, rebuilt, err := Open(Options{Dir: dir})
			must(t, err)
			defer ix.Close()
			if !rebuilt || ix.Position() != (Position{}) {
				t.Errorf("rebuilt: %v, position %+v", rebuilt, ix.Position())
			}
			_, err = ix.Apply([]Entry{{Sequence: 1, ID: "a"}}, 1)
			must(t, err)
		})
	}
}

// TestCorruptBlock damages the inside of a table, which only reading finds.
func TestCorruptBlock(t *testing.T) {
	t.Parallel()
	dir := filled(t)
	paths, _ := filepath.Glob(filepath.Join(dir, "*.sst"))
	for _, p := range paths {
		raw, err := os.ReadFile(p)
		must(t, err)
		for i := 64; i < len(raw)/2; i += 7 {
			raw[i] ^= 0xff
		}
		must(t, os.WriteFile(p, raw, 0o600))
	}
	ix, rebuilt, err := Open(Options{Dir: dir})
	must(t, err)
	defer ix.Close()
	if rebuilt {
		return // found while opening
	}
	for i := 1; i <= 5000; i++ {
		if _, err := ix.Sequence(fmt.Sprint("e", i)); errors.Is(err, ErrCorrupt) {
			return
		}
	}
	t.Error("damage was not noticed")
}

func TestPlaceThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, []byte("mine"), 0o600))
	if _, _, err := Open(Options{Dir: file}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a file as directory: %v", err)
	}
	if raw, _ := os.ReadFile(file); string(raw) != "mine" {
		t.Error("the file was touched")
	}

	dir := filled(t)
	ix, _, err := Open(Options{Dir: dir})
	must(t, err)
	defer ix.Close()
	if _, _, err := Open(Options{Dir: dir}); !errors.Is(err, ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
}
