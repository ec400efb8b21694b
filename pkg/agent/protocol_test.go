package agent_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/pkg/agent"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// docs/protocol.md is a contract with people who cannot read this code. These
// tests hold it to the code: every command line in it is run, every message in
// it is read by the decoder that a service would use, and every field, limit,
// type and variable is mentioned.

const protocolPage = "../../docs/protocol.md"

func readProtocol(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile(protocolPage)
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// commandLines gives the words of each command in the page's sh blocks.
func commandLines(t *testing.T, page string) (lines [][]string) {
	t.Helper()
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(page, -1) {
		for _, line := range strings.Split(strings.ReplaceAll(block[1], "\\\n", " "), "\n") {
			if strings.TrimSpace(line) == "" {
				continue
			}
			words := regexp.MustCompile(`'[^']*'|[^\s']+`).FindAllString(line, -1)
			for i, w := range words {
				words[i] = strings.Trim(w, "'")
			}
			if words[0] != "nats" || strings.ContainsAny(strings.Join(words, ""), "$`") {
				t.Fatalf("not a plain nats command: %s", line)
			}
			lines = append(lines, words[1:])
		}
	}
	return lines
}

// stage is what the page takes to be there: a server, an agent and a runner.
func stage(t *testing.T) *world {
	t.Helper()
	s := natstest.Listen(t)
	w := &world{t: t, server: s, nc: s.Connect(t)}
	w.js = natstest.JetStream(t, w.nc)
	natstest.Streams(t, w.js)
	ready := w.subscribe("smith.*.>")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	go func() {
		ended <- agent.Run(ctx, agent.Options{
			Agent: "worker-1", Type: "echo", HeartbeatInterval: 50 * time.Millisecond, URL: s.URL(), Log: quiet(),
			Handle: func(_ context.Context, t *agent.Task) (any, error) { return t.Payload, nil },
		})
	}()
	go func() {
		ended <- agent.Host{Name: "goroutines", Funcs: map[string]agent.Func{"crawler": agent.Run}, URL: s.URL(), Log: quiet()}.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	})
	for waiting := map[string]bool{"smith.heartbeat.worker-1": true, "smith.runner.goroutines.announce": true}; len(waiting) > 0; {
		delete(waiting, ready.next(t).Subject)
	}
	_ = ready.Unsubscribe()
	return w
}

func TestProtocolCommandsByCLI(t *testing.T) {
	cli := os.Getenv("NATS_CLI")
	if cli == "" {
		found, err := exec.LookPath("nats")
		if err != nil {
			t.Skip("no nats CLI on PATH or in NATS_CLI; the same lines are run by TestProtocolCommands")
		}
		cli = found
	}
	home := t.TempDir()
	perform(t, func(ctx context.Context, w *world, words []string) (string, error) {
		cmd := exec.CommandContext(ctx, cli, words...)
		cmd.Env = []string{"NATS_URL=" + w.server.URL(), "HOME=" + home, "PATH=" + os.Getenv("PATH")}
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		err := cmd.Run()
		if words[0] == "reply" && strings.Contains(out.String(), "Received on subject") {
			err = nil // with --count it ends with status 1 however well it went
		}
		return out.String(), err
	})
}

func TestProtocolCommands(t *testing.T) {
	perform(t, execute)
}

// perform runs the page's commands one after the other, those that wait beside
// the others, and checks every message that they send.
func perform(t *testing.T, do func(ctx context.Context, w *world, words []string) (output string, err error)) {
	w := stage(t)
	all := w.subscribe("smith.>")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	lines := commandLines(t, readProtocol(t))
	waiting := make(chan error)
	begun, sent := 0, map[string]bool{}
	run := func(words []string) error {
		out, err := do(ctx, w, words)
		if err == nil && words[0] != "pub" && !strings.Contains(out, "smith") && !strings.Contains(out, "{") {
			err = fmt.Errorf("it printed nothing of use")
		}
		if err != nil {
			return fmt.Errorf("nats %s: %w\n%s", strings.Join(words, " "), err, out)
		}
		return nil
	}
	for _, words := range lines {
		if words[0] == "sub" || words[0] == "reply" {
			begun++
			subject := words[1]
			before, ended := w.server.Subscribers(t, subject), make(chan struct{})
			go func() {
				err := run(words)
				close(ended)
				waiting <- err
			}()
			for w.server.Subscribers(t, subject) == before && ctx.Err() == nil && !slices.Contains(words, "--stream") {
				if pauseReal(ended) {
					break
				}
			}
			continue
		}
		if err := run(words); err != nil {
			t.Error(err)
		}
		for _, word := range words {
			if strings.HasPrefix(word, "smith.") {
				sent[word] = true
			}
		}
	}
	// Nobody fails on this stage; the one line that waits for a failure gets it.
	w.emit(contracts.AgentFailed, "reader-1", "detector/d", "", contracts.AgentFailedData{Agent: "reader-1", Reason: contracts.ReasonHeartbeatTimeout})
	for range begun {
		if err := <-waiting; err != nil {
			t.Error(err)
		}
	}
	checkMessages(t, all, sent)
	t.Logf("%d commands, %d of which waited", len(lines), begun)
}

// pauseReal pauses for a moment, and tells whether a command has ended meanwhile:
// one that waits for what comes all the time can be over before it was seen to
// listen.
func pauseReal(ended <-chan struct{}) (over bool) {
	select {
	case <-time.After(5 * time.Millisecond):
		return false
	case <-ended:
		return true
	}
}

// checkMessages reads all that was sent by the decoders of those it is for.
func checkMessages(t *testing.T, all inbox, sent map[string]bool) {
	t.Helper()
	if err := all.w.nc.FlushWithContext(all.w.soon()); err != nil {
		t.Fatal(err)
	}
	n, _, err := all.Pending()
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		msg := all.next(t)
		delete(sent, msg.Subject)
		var err error
		switch {
		case strings.HasPrefix(msg.Subject, contracts.HeartbeatPrefix):
			_, err = contracts.DecodeHeartbeat(msg.Data)
		case strings.HasPrefix(msg.Subject, contracts.EventPrefix):
			var e contracts.Event
			if e, err = contracts.DecodeEvent(msg.Subject, msg.Data); err == nil && msg.Header.Get(nats.MsgIdHdr) != e.ID && e.Source != "detector/d" {
				err = fmt.Errorf("Nats-Msg-Id is not the event's id: %v", msg.Header)
			}
		case strings.HasPrefix(msg.Subject, contracts.TaskPrefix):
			_, err = contracts.DecodeTask(msg.Subject, msg.Data)
		}
		if err != nil {
			t.Errorf("%s %s: %v", msg.Subject, msg.Data, err)
		}
	}
	for subject := range sent {
		t.Errorf("nothing was seen on %s", subject)
	}
}

// execute does what the nats CLI would do.
func execute(ctx context.Context, w *world, words []string) (string, error) {
	verb, args, flags := words[0], []string{}, map[string][]string{}
	for i := 1; i < len(words); i++ {
		switch word := words[i]; word {
		case "-J", "--all":
			flags[word] = append(flags[word], "")
		case "-H", "--count", "--timeout", "--stream", "--last-for":
			i++
			flags[word] = append(flags[word], words[i])
		default:
			if strings.HasPrefix(word, "-") {
				return "", fmt.Errorf("unknown flag %s", word)
			}
			args = append(args, word)
		}
	}
	count := 1
	if c := flags["--count"]; c != nil {
		count, _ = strconv.Atoi(c[0])
	}
	nc, err := nats.Connect(w.server.URL())
	if err != nil {
		return "", err
	}
	defer nc.Close()
	switch verb + fmt.Sprint(len(args)) {
	case "pub2":
		msg := nats.NewMsg(args[0])
		msg.Data = []byte(args[1])
		for _, h := range flags["-H"] {
			k, v, _ := strings.Cut(h, ":")
			msg.Header.Set(k, v)
		}
		if flags["-J"] == nil {
			return "", errors.Join(nc.PublishMsg(msg), nc.FlushWithContext(ctx))
		}
		js, err := jetstream.New(nc)
		if err != nil {
			return "", err
		}
		_, err = js.PublishMsg(ctx, msg)
		return "", err
	case "req2":
		msg, err := nc.RequestWithContext(ctx, args[0], []byte(args[1]))
		if err != nil {
			return "", err
		}
		return string(msg.Data), nil
	case "reply2":
		return receive(ctx, nc, args[0], count, args[1])
	case "sub1":
		if flags["--stream"] == nil {
			return receive(ctx, nc, args[0], count, "")
		}
		return fetch(ctx, nc, flags["--stream"][0], args[0], count)
	case "stream2":
		js, err := jetstream.New(nc)
		if err != nil {
			return "", err
		}
		stream, err := js.Stream(ctx, args[1])
		if err != nil {
			return "", err
		}
		msg, err := stream.GetLastMsgForSubject(ctx, flags["--last-for"][0])
		if err != nil {
			return "", err
		}
		return string(msg.Data), nil
	case "micro1":
		msg, err := nc.RequestWithContext(ctx, "$SRV.INFO", nil)
		if err != nil {
			return "", err
		}
		return string(msg.Data), nil
	}
	return "", fmt.Errorf("unknown command")
}

func receive(ctx context.Context, nc *nats.Conn, subject string, count int, answer string) (out string, err error) {
	sub, err := nc.SubscribeSync(subject)
	if err != nil {
		return "", err
	}
	for range count {
		msg, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return out, err
		}
		out += msg.Subject + " " + string(msg.Data) + "\n"
		if answer != "" {
			if err := msg.Respond([]byte(answer)); err != nil {
				return out, err
			}
		}
	}
	return out, nc.FlushWithContext(ctx)
}

func fetch(ctx context.Context, nc *nats.Conn, stream, subject string, count int) (out string, err error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return "", err
	}
	consumer, err := js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{FilterSubjects: []string{subject}})
	if err != nil {
		return "", err
	}
	for range count {
		msg, err := consumer.Next()
		if err != nil {
			return out, err
		}
		out += msg.Subject() + " " + string(msg.Data()) + "\n"
	}
	return out, nil
}

// TestProtocolIsComplete finds what the page does not mention.
func TestProtocolIsComplete(t *testing.T) {
	page := readProtocol(t)
	mention := func(what, word string) {
		t.Helper()
		if !strings.Contains(page, "`"+word+"`") {
			t.Errorf("%s: `%s` is not mentioned", what, word)
		}
	}
	for _, v := range []any{
		contracts.Heartbeat{},
		contracts.PingReply{},
		contracts.AgentStopRequest{},
		contracts.Task{},
		contracts.TaskDispatch{},
		contracts.TaskReply{},
		contracts.TaskResultData{},
		contracts.Event{},
		contracts.AgentFailedData{},
		contracts.AgentStartedData{},
		contracts.AgentStoppedData{},
		contracts.Exit{},
		contracts.Silence{},
		contracts.StartCommand{},
		contracts.StopCommand{},
		contracts.RunnerReply{},
		contracts.RunnerList{},
		contracts.RunnerAgent{},
		contracts.RunnerAnnouncement{},
	} {
		typ := reflect.TypeOf(v)
		for i := range typ.NumField() {
			name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			mention(typ.Name(), name)
		}
	}
	for _, et := range contracts.EventTypes() {
		mention("event type", string(et))
	}
	for _, name := range []string{
		contracts.EnvNATSURL, contracts.EnvNATSCreds, contracts.EnvNATSCA, contracts.EnvAgent, contracts.EnvIncarnation, contracts.EnvRunner,
		contracts.EnvType, contracts.EnvCapabilities, contracts.EnvCapacity, contracts.EnvHeartbeatInterval, contracts.EnvShutdownTimeout,
	} {
		mention("environment", name)
	}
	for _, word := range []string{
		"running", "busy", "degraded", "stopping", "stopped", "full", "stale_incarnation", "unknown_type", "invalid",
		string(contracts.ReasonExited), string(contracts.ReasonPanicked), string(contracts.ReasonHeartbeatTimeout), string(contracts.ReasonNoFirstHeartbeat),
		string(contracts.ReasonHealthCheckFailed), string(contracts.ReasonHung), string(contracts.ReasonStartFailed), string(contracts.ReasonUnverified),
		string(contracts.ReasonHostLost), string(contracts.RunnerStale), string(contracts.RunnerStillRunning), string(contracts.RunnerAlreadyExited),
		string(contracts.RunnerStartFailed), string(contracts.RunnerNotStopped), string(contracts.RunnerInternal), contracts.EventStream,
	} {
		mention("word", word)
	}
	limits := map[string]int{
		"heartbeat": contracts.MaxHeartbeatBytes, "task": contracts.MaxTaskBytes, "result": contracts.MaxResultBytes, "event": contracts.MaxEventBytes,
		"request": contracts.MaxRequestBytes, "capabilities": contracts.MaxCapabilities, "capacity": contracts.MaxCapacity, "words": contracts.MaxCommandArgs,
		"`source`": contracts.MaxSourceBytes, "`correlationid`": contracts.MaxReferenceBytes,
	}
	for _, what := range slices.Sorted(maps.Keys(limits)) {
		row := regexp.MustCompile(`(?m)^\| ` + regexp.QuoteMeta(what) + `.*\| (\d[\d,]*)`).FindStringSubmatch(page)
		if row == nil || strings.ReplaceAll(row[1], ",", "") != strconv.Itoa(limits[what]) {
			t.Errorf("limit of %s: the page says %q, the code %d", what, row, limits[what])
		}
	}
}
