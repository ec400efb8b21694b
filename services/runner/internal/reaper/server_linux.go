package reaper

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner/internal/process"
)

// Descriptors that a reaper is started with. Its directory is the working
// directory.
const (
	lockFD   = 3
	listenFD = 4
)

const (
	// firstPatience is how long a new reaper waits for the runner that started it.
	firstPatience = 10 * time.Second
	// saveInterval is how often a file that could not be written is tried again,
	// and savePatience for how long when there is nothing else to do.
	saveInterval = time.Second
	savePatience = time.Minute
)

// processName is the name under which this very binary is a reaper. It is an init
// function, like the step of package process, so that every binary that links the
// runner is able to, and what the rest of it sets up is spared.
const processName = "mistersmith-reaper"

func init() {
	if len(os.Args) == 0 || os.Args[0] != processName {
		return
	}
	err := cleanSignals()
	if err == nil {
		err = serve()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, time.Now().UTC().Format(time.RFC3339), err)
		syscall.Exit(1)
	}
	syscall.Exit(0) // without what other packages do at exit
}

func serve() error {
	// Nothing ends it before its time. A handler, other than an ignored signal, is
	// not inherited by agents (see cleanSignals).
	told := make(chan os.Signal, 1)
	signal.Notify(told, unix.SIGTERM)
	signal.Notify(make(chan os.Signal, 1), unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2)
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, unix.SIGCHLD)
	unix.CloseOnExec(lockFD)
	socket := os.NewFile(listenFD, "socket")
	l, err := net.FileListener(socket)
	if err != nil {
		return fmt.Errorf("started without a socket, see package reaper: %w", err)
	}
	_ = socket.Close() // l has its own
	epoch, err := process.CurrentEpoch()
	if err != nil {
		return err
	}
	if err := process.BecomeReaper(); err != nil {
		return err
	}
	around, err := surroundings()
	if err != nil {
		return err
	}
	s := &server{
		epoch: epoch, around: around, exits: "../exits", outputs: "../output", held: map[string]int{}, events: make(chan func()),
		running: map[string]process.Identity{}, tokens: map[int]string{}, ended: map[string]Exit{}, unsaved: map[string]bool{},
	}
	go s.listen(l.(*net.UnixListener))
	s.loop(told, ended)
	return nil
}

// server is a reaper. Its loop alone touches it.
type server struct {
	epoch   process.Epoch
	around  string
	exits   exits
	outputs outputs
	events  chan func()
	running map[string]process.Identity // by token
	tokens  map[int]string              // of running, by pid
	ended   map[string]Exit             // that no runner has taken, by token
	unsaved map[string]bool             // of ended, those without a file
	held    map[string]int              // the output of both, open for reading, by token
	runner  *net.UnixConn               // or nil
	// shutdown is when this process was told to end.
	shutdown shutdown
}

func (s *server) loop(told, ended <-chan os.Signal) {
	begin := time.Now()
	var idle time.Time // since when only files are to be written
	tick := time.NewTicker(saveInterval)
	defer tick.Stop()
	for met := false; ; {
		select {
		case <-told:
			s.toldToEnd()
		case <-ended:
			s.reap()
		case event := <-s.events:
			event()
			met = true
		case <-tick.C:
			s.reap() // costs nothing, and a signal may be lost to a debugger
			s.saveAgain()
		}
		switch {
		case s.runner != nil || len(s.running) > 0 || !met && time.Since(begin) < firstPatience:
			idle = time.Time{}
		case len(s.unsaved) == 0:
			s.keepOutputs()
			return
		case idle.IsZero():
			idle = time.Now()
		case time.Since(idle) > savePatience:
			return
		}
	}
}

// toldToEnd keeps that this process was told to end, for the runner of the next boot.
func (s *server) toldToEnd() {
	s.shutdown = s.shutdown.again(time.Now().UTC())
	s.shutdown.Process = process.Identity{PID: os.Getpid(), Epoch: s.epoch}
	if err := s.shutdown.save(".."); err != nil && !errors.Is(err, os.ErrNotExist) {
		fmt.Fprintln(os.Stderr, s.shutdown.Last.Format(time.RFC3339), "reaper: told to end:", err)
	}
}

// listen serves one runner after the other: it reads all that one has sent, and
// sees that it has gone, before it accepts the next.
func (s *server) listen(l *net.UnixListener) {
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			fmt.Fprintln(os.Stderr, "reaper: accept:", err)
			time.Sleep(saveInterval) // short of descriptors
			continue
		}
		if !ownUser(conn) {
			_ = conn.Close()
			continue
		}
		s.do(func() { s.greet(conn) })
		for from := (receiver{conn: conn}); ; {
			m, fds, err := from.next()
			if err != nil {
				break
			}
			s.do(func() { s.handle(m, fds) })
		}
		s.do(func() {
			s.runner = nil
			_ = conn.Close()
			s.keepOutputs() // it may not have read what was printed last
		})
	}
}

// do has the loop do something, and waits for that.
func (s *server) do(f func()) {
	done := make(chan struct{})
	s.events <- func() {
		defer close(done)
		f()
	}
	<-done
}

// greet tells a runner what there is.
func (s *server) greet(conn *net.UnixConn) {
	s.runner = conn
	self := process.Identity{PID: os.Getpid(), Epoch: s.epoch}
	hello := message{Op: opHello, Version: version, Process: self, Around: s.around}
	if pidfd, err := unix.PidfdOpen(self.PID, 0); err != nil {
		s.send(hello)
	} else {
		s.send(hello, pidfd)
		_ = unix.Close(pidfd)
	}
	for token, id := range s.running {
		s.send(message{Op: opRunning, Token: token, Process: id})
	}
	for token, exit := range s.ended {
		s.send(message{Op: opEnded, Token: token, Exit: &exit})
	}
	s.send(message{Op: opReady})
}

// send waits for a runner that is slow. One that has gone is told nothing: its
// successor is.
func (s *server) send(m message, fds ...int) {
	if s.runner != nil {
		_ = send(s.runner, m, fds...)
	}
}

func (s *server) handle(m message, fds []int) {
	switch m.Op {
	case opStart:
		s.start(m.Token, fds)
		return
	case opAbort:
		s.abort(m.Token)
	case opTaken:
		if err := s.exits.remove(m.Token); err == nil {
			delete(s.ended, m.Token)
			delete(s.unsaved, m.Token)
			s.release(m.Token)
		}
	}
	closeAll(fds)
}

// startFiles are what comes with a start: the command, the output and the lock.
const startFiles = 3

// start starts a program. The runner gets a descriptor of the process itself.
func (s *server) start(token string, fds []int) {
	var files []*os.File
	for _, fd := range fds {
		files = append(files, os.NewFile(uintptr(fd), "received"))
	}
	p, err := s.fork(token, files)
	if err == nil {
		s.hold(token, files[1])
	}
	for _, f := range files {
		_ = f.Close() // the lock is the program's alone, before anybody is told
	}
	if err != nil {
		s.send(failure(token, err))
		return
	}
	id := p.Identity()
	s.running[token], s.tokens[id.PID] = id, token
	_ = p.Descriptor(func(pidfd int) error {
		s.send(message{Op: opStarted, Token: token, Process: id}, pidfd)
		return nil
	})
	_ = p.Close()
}

func (s *server) fork(token string, files []*os.File) (*process.Process, error) {
	if _, known := s.running[token]; known {
		return nil, fmt.Errorf("start %s: it was started already", token)
	}
	if _, known := s.ended[token]; known {
		return nil, fmt.Errorf("start %s: it was started already, and has ended", token)
	}
	if len(files) < startFiles { // the kernel drops what there is no room for
		return nil, fmt.Errorf("start %s: take its files: %w", token, unix.EMFILE)
	}
	b, err := io.ReadAll(io.NewSectionReader(files[0], 0, maxCommand))
	if err != nil {
		return nil, fmt.Errorf("start %s: read its command: %w", token, err)
	}
	c, err := decodeCommand(b)
	if err != nil {
		return nil, err
	}
	c.Output, c.Lock = files[1], files[2]
	return process.Start(c)
}

// failure is the answer to a start that failed.
func failure(token string, err error) message {
	m := message{Op: opFailed, Token: token, Error: err.Error()}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		m.Errno = int(errno)
	}
	m.Error = m.Error[:min(len(m.Error), maxError)]
	return m
}

// abort ends a program that the runner cannot watch, as if it had not started.
func (s *server) abort(token string) {
	id, ok := s.running[token]
	if !ok {
		if _, ended := s.ended[token]; ended {
			s.handle(message{Op: opTaken, Token: token}, nil)
		}
	} else {
		// Until it is reaped, here, the number is its own.
		_ = unix.Kill(-id.PID, unix.SIGKILL)
		for {
			_, err := unix.Wait4(id.PID, nil, 0, nil)
			if !errors.Is(err, unix.EINTR) {
				break
			}
		}
		s.forget(token, id.PID)
		s.release(token)
	}
	s.send(message{Op: opFailed, Token: token})
}

func (s *server) forget(token string, pid int) {
	delete(s.running, token)
	delete(s.tokens, pid)
}

// reap takes every child that has ended. The runner waits for the status of an
// agent, so it is told first; a successor of it reads the file, so that is there
// before the process is let go.
func (s *server) reap() {
	for {
		z, ok := process.NextZombie()
		if !ok {
			return
		}
		if token, is := s.tokens[z.PID]; is {
			id := s.running[token]
			exit := Exit{Process: id, Wait: uint32(z.Wait), At: time.Now().UTC(), Lived: contracts.Duration(id.Age()), Used: z.Used}
			s.forget(token, z.PID)
			s.ended[token] = exit
			s.send(message{Op: opEnded, Token: token, Exit: &exit})
			s.save(token)
		}
		z.Reap()
	}
}

func (s *server) save(token string) {
	err := s.exits.save(token, s.ended[token])
	if err == nil {
		err = s.keepOutput(token)
	}
	if err == nil || errors.Is(err, os.ErrNotExist) { // nobody looks where the directory was removed
		delete(s.unsaved, token)
		return
	}
	if !s.unsaved[token] {
		s.complain(err)
	}
	s.unsaved[token] = true
}

func (s *server) complain(err error) {
	fmt.Fprintln(os.Stderr, time.Now().UTC().Format(time.RFC3339), "reaper:", err)
}

func (s *server) saveAgain() {
	for token := range s.unsaved {
		s.save(token)
	}
}
