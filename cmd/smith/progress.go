package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// progress is a line on a terminal that says what is waited for, from the first
// second on. A nil progress shows nothing.
type progress struct {
	out   io.Writer
	begin time.Time
	end   chan struct{}
	done  sync.WaitGroup

	mu    sync.Mutex
	text  string
	shown bool
}

// progressEvery is how often the line is written, and when it first is.
const progressEvery = time.Second

// newProgress shows progress on standard error if that is a terminal and the
// output is for people.
func newProgress(a *app, asJSON bool) *progress {
	f, ok := a.stderr.(*os.File)
	if asJSON || !ok || !term.IsTerminal(int(f.Fd())) {
		return nil
	}
	return showProgress(f)
}

func showProgress(out io.Writer) *progress {
	p := &progress{out: out, begin: time.Now(), end: make(chan struct{})}
	p.done.Go(func() {
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				p.write()
			case <-p.end:
				p.clear()
				return
			}
		}
	})
	return p
}

// set changes what is shown.
func (p *progress) set(text string) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text = text
}

func (p *progress) write() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.text == "" {
		return
	}
	p.shown = true
	fmt.Fprintf(p.out, "\r\x1b[K%s, %s", clip(p.text, 66), time.Since(p.begin).Round(time.Second))
}

func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}

// close takes the line away.
func (p *progress) close() {
	if p == nil {
		return
	}
	close(p.end)
	p.done.Wait()
}
