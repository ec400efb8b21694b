package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mistersmith/mistersmith/pkg/agent"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// A whole agent as a program. A runner sets the environment that Main reads;
// by hand: SMITH_AGENT=echo-1 SMITH_TYPE=echo ./echo.
func ExampleMain() {
	agent.Main(func(ctx context.Context, o agent.Options) error {
		o.Handle = func(ctx context.Context, t *agent.Task) (any, error) {
			return map[string]string{"echo": string(t.Payload)}, nil
		}
		return agent.Run(ctx, o)
	})
}

// An agent that is given one task, as the router would.
func ExampleRun() {
	nc, done := exampleServer()
	defer done()
	results, _ := nc.SubscribeSync("smith.event.task.*.greet")
	beats, _ := nc.SubscribeSync("smith.heartbeat.greeter")

	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() {
		ended <- agent.Run(ctx, agent.Options{
			Agent: "greeter", Type: "greet", URL: nc.ConnectedUrl(), Log: quiet(),
			Handle: func(_ context.Context, t *agent.Task) (any, error) {
				var name string
				if err := t.Decode(&name); err != nil {
					return nil, err
				}
				return "hello, " + name, nil
			},
		})
	}()
	if _, err := beats.NextMsg(30 * time.Second); err != nil {
		log.Fatal(err)
	}
	reply, err := nc.Request("smith.agent.greeter.task", []byte(`{"task":"t1","type":"greet","attempt":1,"payload":"world"}`), 30*time.Second)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("the agent says:", string(reply.Data))
	msg, err := results.NextMsg(30 * time.Second)
	if err != nil {
		log.Fatal(err)
	}
	event, _ := contracts.DecodeEvent(msg.Subject, msg.Data)
	result, _ := contracts.DecodeData[contracts.TaskResultData](event)
	fmt.Println("the log says:", event.Type, string(result.Result))
	stop()
	fmt.Println("the end:", <-ended)
	// Output:
	// the agent says: {"accepted":true}
	// the log says: smith.task.completed "hello, world"
	// the end: <nil>
}

// A loop that is stuck: its watchdog runs out, and the agent says so and ceases to
// beat. A watchdog of half a minute is more usual.
func ExampleOptions_watchdog() {
	nc, done := exampleServer()
	defer done()
	beats, _ := nc.SubscribeSync("smith.heartbeat.crawler")

	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() {
		ended <- agent.Run(ctx, agent.Options{
			Agent: "crawler", URL: nc.ConnectedUrl(), Log: quiet(), HeartbeatInterval: 10 * time.Millisecond,
			Watchdog: 200 * time.Millisecond,
			Work: func(ctx context.Context, a *agent.Agent) error {
				for page := range 3 {
					fmt.Println("page", page)
					a.Progress()
				}
				<-ctx.Done() // stands for a call that does not return
				return nil
			},
		})
	}()
	for {
		msg, err := beats.NextMsg(30 * time.Second)
		if err != nil {
			log.Fatal(err)
		}
		if beat, err := contracts.DecodeHeartbeat(msg.Data); err == nil && beat.Status == contracts.StatusStuck {
			fmt.Println("the last heartbeat says:", beat.Status)
			break
		}
	}
	stop()
	fmt.Println("the end:", <-ended)
	// Output:
	// page 0
	// page 1
	// page 2
	// the last heartbeat says: stuck
	// the end: <nil>
}

// Two agents as goroutines of one program. One of them panics; the supervisor
// hears of it, the other does not notice.
func ExampleHost() {
	nc, done := exampleServer()
	defer done()
	failures, _ := nc.SubscribeSync("smith.event.agent.failed.*")
	announced, _ := nc.SubscribeSync("smith.runner.goroutines.announce")

	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() {
		ended <- agent.Host{
			Name: "goroutines", URL: nc.ConnectedUrl(), Log: quiet(),
			Funcs: map[string]agent.Func{
				"steady":  agent.Run,
				"fragile": func(context.Context, agent.Options) error { panic("out of luck") },
			},
		}.Run(ctx)
	}()
	if _, err := announced.NextMsg(30 * time.Second); err != nil {
		log.Fatal(err)
	}
	for _, name := range []string{"steady", "fragile"} { // as the supervisor does
		cmd, _ := json.Marshal(contracts.StartCommand{Agent: name + "-1", Incarnation: 1, Command: []string{name}})
		reply, err := nc.Request("smith.runner.goroutines.start", cmd, 30*time.Second)
		if err != nil {
			log.Fatal(err)
		}
		var r contracts.RunnerReply
		_ = json.Unmarshal(reply.Data, &r)
		fmt.Println("start", r.Agent, r.Code)
	}
	msg, err := failures.NextMsg(30 * time.Second)
	if err != nil {
		log.Fatal(err)
	}
	event, _ := contracts.DecodeEvent(msg.Subject, msg.Data)
	failed, _ := contracts.DecodeData[contracts.AgentFailedData](event)
	fmt.Println(failed.Agent, failed.Reason+":", failed.Detail)
	stop()
	fmt.Println("the end:", <-ended)
	// Output:
	// start steady-1 ok
	// start fragile-1 ok
	// fragile-1 panicked: out of luck
	// the end: <nil>
}

// One line in a handler makes it fail now and then, always in the same way for
// the same seed.
func ExampleFaults() {
	faults, err := agent.NewFaults(agent.FaultPlan{Rate: 0.3, Kinds: []agent.FaultKind{agent.FaultError}, Seed: 7})
	if err != nil {
		log.Fatal(err)
	}
	handle := func(ctx context.Context) error {
		if err := faults.Inject(ctx); err != nil {
			return err
		}
		return nil // the real work
	}
	failed := 0
	for range 1000 {
		if errors.Is(handle(context.Background()), agent.ErrInjected) {
			failed++
		}
	}
	fmt.Println(failed == int(faults.Counts()[agent.FaultError]), failed > 250, failed < 350)
	// Output: true true true
}

// Events as they happen, typed. The handler that panics is reported, and the
// other goes on.
func ExampleListener() {
	nc, done := exampleServer()
	defer done()
	ready, seen, reported := make(chan struct{}), make(chan string, 1), make(chan error, 1)
	l := &agent.Listener{
		Conn: nc, Log: quiet(),
		Ready:   func() { close(ready) },
		OnError: func(err *agent.HandlerError) { reported <- err.Err },
	}
	failures := contracts.EventFilter{Types: []contracts.EventType{contracts.AgentFailed}}
	agent.On(l, "pager", failures, func(_ context.Context, e contracts.Event, d contracts.AgentFailedData) error {
		seen <- fmt.Sprintf("%s failed: %s", e.Entity, d.Reason)
		return nil
	})
	l.Handle("clumsy", failures, func(context.Context, contracts.Event) error { panic("oops") })
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- l.Run(ctx) }()
	<-ready

	event, err := contracts.NewEvent("doc/example", contracts.AgentFailed, "crawler-1", time.Now()).
		Data(contracts.AgentFailedData{Agent: "crawler-1", Incarnation: 1, Reason: contracts.ReasonExited}).Build()
	if err != nil {
		log.Fatal(err)
	}
	body, _ := event.Encode()
	js, _ := jetstream.New(nc)
	if _, err := js.Publish(ctx, event.Subject(), body); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-seen)
	fmt.Println(<-reported)
	stop()
	fmt.Println("the end:", <-ended)
	// Output:
	// crawler-1 failed: exited
	// panicked: oops
	// the end: <nil>
}

// exampleServer runs a server with the event stream on a free port.
func exampleServer() (nc *nats.Conn, done func()) {
	dir, err := os.MkdirTemp("", "smith-example-")
	if err != nil {
		log.Fatal(err)
	}
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true})
	if err != nil {
		log.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		log.Fatal("the server does not start")
	}
	nc, err = nats.Connect(s.ClientURL())
	if err != nil {
		log.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := js.CreateStream(context.Background(), contracts.EventStreamConfig(contracts.StreamOptions{})); err != nil {
		log.Fatal(err)
	}
	return nc, func() {
		nc.Close()
		s.Shutdown()
		s.WaitForShutdown()
		_ = os.RemoveAll(dir)
	}
}
