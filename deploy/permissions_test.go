package deploy

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/internal/natstest"
)

// conf is nats-server.conf as the server reads it.
type conf struct{ *server.Options }

func loadConf(t *testing.T) conf {
	t.Helper()
	opts, err := server.ProcessConfigFile("nats-server.conf")
	if err != nil {
		t.Fatal(err)
	}
	return conf{opts}
}

// inProcess changes what a test must: no ports, a store of its own.
func (c conf) inProcess(o *server.Options) {
	c.listening(o)
	o.DontListen, o.Port = true, 0
}

// listening is inProcess with a free port.
func (c conf) listening(o *server.Options) {
	store := o.StoreDir
	*o = *c.Options
	o.StoreDir, o.NoSigs, o.NoLog = store, true, true
	o.Host, o.Port = "127.0.0.1", server.RANDOM_PORT
	o.HTTPHost, o.HTTPPort = "", 0
}

var passwordVar = regexp.MustCompile(`user: (\S+), +password: \$(\w+),`)

// setPasswords makes each user's password its name with "-secret".
func setPasswords(t *testing.T) {
	t.Helper()
	conf, err := os.ReadFile("nats-server.conf")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range passwordVar.FindAllStringSubmatch(string(conf), -1) {
		t.Setenv(m[2], m[1]+"-secret")
	}
}

// client is a connection of a role that notes what the server refuses it.
type client struct {
	*nats.Conn
	// settle waits until errors reported have been noted.
	settle  func()
	mu      sync.Mutex
	refused []string
}

var violation = regexp.MustCompile(`(?i)permissions violation for (publish|subscription) to "([^"]+)"`)

func connect(t *testing.T, s *natstest.Server, user string) *client {
	t.Helper()
	c := &client{settle: func() {}}
	inbox := "_INBOX_" + user
	if user == "agent" || user == "crawler-1" || user == "foreign" {
		inbox = "_INBOX"
	}
	c.Conn = s.Connect(
		t, nats.Name(user), nats.UserInfo(user, user+"-secret"), nats.CustomInboxPrefix(inbox),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			if m := violation.FindStringSubmatch(err.Error()); m != nil {
				c.refused = append(c.refused, m[2])
			} else {
				c.refused = append(c.refused, err.Error())
			}
		}),
	)
	return c
}

// violations gives what the server has refused since the last call.
func (c *client) violations(t *testing.T) []string {
	t.Helper()
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	c.settle()
	c.mu.Lock()
	defer c.mu.Unlock()
	refused := c.refused
	c.refused = nil
	return refused
}

// permissions are what a user may and may not do.
type permissions struct {
	user                              string
	publish, noPublish, hear, notHear []string
}

// Ways to read the environments of agents that were added at run time.
const (
	getEnvironment   = "$JS.API.DIRECT.GET.KV_SMITH_STATE.$KV.SMITH_STATE.environment.main.x"
	getStored        = "$JS.API.DIRECT.GET.KV_SMITH_STATE"
	getMessage       = "$JS.API.STREAM.MSG.GET.KV_SMITH_STATE"
	watchEnvironment = "$JS.API.CONSUMER.CREATE.KV_SMITH_STATE.x.$KV.SMITH_STATE.environment.main.x"
	watchState       = "$JS.API.CONSUMER.CREATE.KV_SMITH_STATE.x"
	durableState     = "$JS.API.CONSUMER.DURABLE.CREATE.KV_SMITH_STATE.x"
)

var readEnvironments = []string{getEnvironment, getStored, getMessage, watchEnvironment, watchState, durableState}

var table = []permissions{
	{
		"agent",
		[]string{
			"smith.heartbeat.a", "smith.event.task.completed.research", "smith.event.task.failed.research", "smith.agent.a.ping",
			"smith.event.tool.execution_started.browser", "smith.event.custom.lunch.a", "smith.event.agent.message_processed.a",
		},
		[]string{
			"smith.event.agent.failed.b", "smith.event.agent.started.a", "smith.event.agent.stopped.a", "smith.event.agent.recovered.a",
			"smith.event.task.submitted.research", "smith.event.task.assigned.research", "smith.event.task.dead_lettered.research",
			"smith.event.tree.decided.main", "smith.event.system.started.router", "smith.runner.r.start", "smith.runner.r.stop",
			"smith.runner.r.logs", "smith.runner.r.announce", "smith.agent.b.stop", "smith.agent.b.task", "smith.task.research", "smith.supervisor.terminate",
			"smith.dead.task.research", "$KV.SMITH_STATE.tree.main", "$JS.API.STREAM.DELETE.SMITH_EVENTS", "$JS.API.STREAM.INFO.SMITH_EVENTS",
			"$JS.API.CONSUMER.CREATE.SMITH_EVENTS.x", "$JS.API.DIRECT.GET.SMITH_EVENTS", "_INBOX.x.y",
		},
		[]string{"smith.agent.a.ping", "smith.agent.a.task", "smith.agent.a.stop", "smith.heartbeat.a", "_INBOX.x.*"},
		[]string{"smith.>", "smith.event.>", "smith.task.*", "smith.runner.*.start", "smith.supervisor.*", "_INBOX_supervisor.>", "_INBOX_operator.>", "$JS.>", ">"},
	},
	{
		"crawler-1",
		[]string{"smith.heartbeat.crawler-1", "smith.event.task.completed.research", "smith.event.custom.lunch.crawler-1", "smith.agent.crawler-1.ping"},
		[]string{
			"smith.heartbeat.crawler-2", "smith.event.custom.lunch.crawler-2", "smith.event.agent.message_received.crawler-2",
			"smith.event.task.completed.code", "smith.event.agent.failed.crawler-1", "smith.agent.crawler-2.ping",
		},
		[]string{"smith.agent.crawler-1.ping", "smith.agent.crawler-1.task", "smith.heartbeat.crawler-1"},
		[]string{"smith.agent.crawler-2.task", "smith.agent.*.task", "smith.heartbeat.*", "smith.event.>"},
	},
	{
		"foreign",
		[]string{"agents.hb.cc.acme.main"},
		[]string{
			"smith.heartbeat.a", "smith.event.agent.failed.a", "agents.prompt.cc.acme.main", "smith.task.research", "smith.detector.status",
			"$JS.API.STREAM.INFO.SMITH_EVENTS",
		},
		[]string{"agents.prompt.cc.acme.main", "agents.status.cc.acme.main", "$SRV.PING.agents", "_INBOX.x"},
		[]string{"agents.hb.*.*.*", "smith.>", "smith.heartbeat.*", "_INBOX_detector.>"},
	},
	{
		"runner",
		[]string{
			"smith.heartbeat.r", "smith.runner.r.announce", "smith.runner.r.list", "smith.event.agent.started.a", "smith.event.agent.stopped.a",
			"smith.event.agent.failed.a", "smith.event.system.message_rejected.runner",
		},
		[]string{
			"smith.runner.r.start", "smith.runner.r.stop", "smith.event.agent.recovered.a", "smith.event.tree.decided.main", "smith.event.task.completed.x",
			"smith.event.system.started.supervisor", "smith.agent.a.task", "smith.task.x", "$KV.SMITH_STATE.tree.main", "$JS.API.STREAM.UPDATE.SMITH_EVENTS",
			"$JS.API.CONSUMER.CREATE.SMITH_EVENTS.x",
		},
		[]string{"smith.runner.r.start", "smith.runner.r.stop", "smith.runner.r.list", "smith.runner.r.logs", "smith.runner.r.forget", "smith.runner.r.announce", "$SRV.PING", "$SRV.INFO.smith-runner", "$SRV.STATS.smith-runner.x"},
		[]string{"smith.event.>", "smith.task.*", "smith.agent.*.task", "smith.supervisor.*", "$SRV.PING.smith-router", "_INBOX.>", "_INBOX_supervisor.>"},
	},
	{
		"run",
		[]string{
			"smith.heartbeat.a", "smith.agent.a.ping", "smith.detector.status", "smith.event.agent.started.a", "smith.event.agent.stopped.a", "smith.event.agent.failed.a",
		},
		[]string{
			"smith.agent.a.stop", "smith.agent.a.task", "smith.detector.unmonitor", "smith.runner.r.start", "smith.runner.r.announce", "smith.event.agent.recovered.a",
			"smith.event.tree.decided.main", "smith.event.task.completed.x", "smith.task.x", "$KV.SMITH_STATE.tree.main", "$JS.API.CONSUMER.CREATE.SMITH_EVENTS.x",
		},
		[]string{"smith.agent.a.ping", "smith.agent.a.task", "smith.agent.a.stop", "smith.heartbeat.a", "_INBOX_run.x.*"},
		[]string{"smith.>", "smith.event.>", "smith.task.*", "smith.runner.*.start", "_INBOX.>", "_INBOX_operator.>"},
	},
	{
		"detector",
		[]string{
			"smith.agent.a.ping", "smith.runner.r.list", "smith.event.agent.created.a", "smith.event.agent.failed.a", "smith.event.agent.recovered.a",
			"smith.event.agent.state_changed.a", "smith.event.system.health_check_failed.detector", "smith.event.agent.conflict.a",
			"smith.event.system.correlated_silence.r", "smith.event.system.correlated_silence_over.r", "smith.heartbeat.canary.detector-1", "$KV.SMITH_STATE.detector.a",
			"$JS.FC.KV_SMITH_STATE.x.y",
		},
		[]string{
			"smith.event.agent.started.a", "smith.event.agent.stopped.a", "smith.event.tree.decided.main", "smith.event.task.completed.x", "smith.runner.r.stop", "smith.runner.r.logs",
			"smith.agent.a.stop", "smith.heartbeat.a", "smith.task.x", "$KV.SMITH_STATE.tree.main", "$JS.API.STREAM.CREATE.SMITH_EVENTS",
			"$JS.API.STREAM.MSG.DELETE.SMITH_EVENTS",
		},
		[]string{"smith.heartbeat.>", "agents.hb.*.*.*", "smith.detector.status", "$SYS.ACCOUNT.*.DISCONNECT", "$SRV.PING.smith-detector", "_INBOX_detector.x"},
		[]string{"smith.task.*", "smith.agent.*.task", "smith.runner.*.start", "smith.supervisor.*", "_INBOX.>", "agents.prompt.*.*.*"},
	},
	{
		"supervisor",
		[]string{
			"smith.runner.r.start", "smith.runner.r.stop", "smith.runner.r.list", "smith.runner.r.forget", "smith.event.tree.decided.main", "smith.event.tree.gave_up.main",
			"smith.event.agent.failed.a", "smith.event.system.started.supervisor", "$KV.SMITH_STATE.tree.main", "$KV.SMITH_STATE.lease.supervisor",
			"$KV.SMITH_STATE.environment.main.x", getEnvironment, watchEnvironment,
			"$JS.FC.KV_SMITH_STATE.x.y",
		},
		[]string{
			"smith.event.agent.started.a", "smith.event.agent.recovered.a", "smith.event.task.completed.x", "smith.heartbeat.a", "smith.agent.a.task", "smith.task.x",
			"smith.runner.r.announce", "$KV.SMITH_STATE.router", "$JS.API.STREAM.DELETE.SMITH_EVENTS", "$JS.API.STREAM.PURGE.SMITH_EVENTS", "$JS.API.STREAM.INFO.SMITH_TASKS",
		},
		[]string{"smith.heartbeat.a", "smith.heartbeat.*", "smith.runner.*.announce", "smith.supervisor.tree", "$SRV.INFO.smith-supervisor", "_INBOX_supervisor.>"},
		[]string{"smith.task.*", "smith.agent.*.task", "smith.runner.*.start", "smith.detector.*", "_INBOX.>"},
	},
	{
		"router",
		[]string{
			"smith.task.research", "smith.agent.a.task", "smith.event.task.assigned.research", "smith.event.task.dead_lettered.research", "smith.dead.task.research",
			"smith.event.system.started.router", "smith.router.owner.x", "$KV.SMITH_STATE.router", "$KV.SMITH_STATE.router.0.1", "$JS.ACK.SMITH_TASKS.x.1.2.3.4.5",
		},
		[]string{
			"smith.agent.a.stop", "smith.runner.r.start", "smith.event.agent.failed.a", "smith.event.tree.decided.main", "smith.heartbeat.a", "$KV.SMITH_STATE.tree.main",
			"$JS.API.STREAM.UPDATE.SMITH_EVENTS", "$JS.API.STREAM.DELETE.SMITH_EVENTS", "$JS.API.STREAM.MSG.DELETE.SMITH_EVENTS", "smith.dead.event.x",
		},
		[]string{"smith.heartbeat.*", "smith.task.*", "smith.router.submit", "$SRV.STATS.smith-router", "_INBOX_router.>"},
		[]string{"smith.agent.*.task", "smith.runner.*.start", "smith.supervisor.*", "_INBOX.>"},
	},
	{
		"eventstore",
		[]string{"smith.event.system.message_rejected.eventstore", "smith.dead.event.undecodable"},
		[]string{
			"smith.event.agent.failed.a", "smith.event.tree.decided.main", "smith.event.task.completed.x", "smith.event.system.started.router", "smith.runner.r.stop",
			"smith.agent.a.stop", "smith.task.x", "smith.heartbeat.a", "$KV.SMITH_STATE.tree.main", "$JS.API.STREAM.DELETE.SMITH_EVENTS",
			"$JS.API.STREAM.PURGE.SMITH_EVENTS", "$JS.API.STREAM.MSG.DELETE.SMITH_EVENTS", "$JS.API.STREAM.UPDATE.SMITH_TASKS",
		},
		[]string{"smith.eventstore.query", "smith.eventstore.why", "$SRV.PING.smith-eventstore", "_INBOX_eventstore.>"},
		[]string{"smith.heartbeat.*", "smith.task.*", "smith.agent.*.task", "smith.supervisor.*", "_INBOX.>"},
	},
	{
		"operator",
		[]string{
			"smith.detector.status", "smith.supervisor.restart", "smith.router.submit", "smith.eventstore.why", "smith.task.research",
			"smith.runner.r.list", "smith.runner.r.logs", "$SRV.PING", "$SRV.STATS.smith-router", "_INBOX_eventstore.x.1",
		},
		[]string{
			"smith.event.agent.failed.a", "smith.event.tree.decided.main", "smith.heartbeat.a", "smith.runner.r.start", "smith.runner.r.stop", "smith.agent.a.task",
			"smith.agent.a.stop", "$KV.SMITH_STATE.tree.main", "$JS.API.STREAM.DELETE.SMITH_EVENTS", "$JS.API.STREAM.PURGE.SMITH_TASKS", "$JS.ACK.SMITH_TASKS.x.1.2.3.4.5",
		},
		[]string{"smith.event.>", "smith.event.agent.failed.*", "smith.heartbeat.*", "smith.dead.>", "_INBOX_operator.>"},
		[]string{"smith.supervisor.*", "smith.agent.*.task", "smith.runner.*.start", "_INBOX.>", "_INBOX_supervisor.>"},
	},
	{
		"observer",
		[]string{"$JS.API.STREAM.INFO.SMITH_EVENTS", "$JS.API.CONSUMER.CREATE.SMITH_EVENTS.x"},
		[]string{
			"smith.heartbeat.a", "smith.event.custom.x.y", "smith.task.x", "smith.supervisor.restart", "smith.runner.r.logs", "$JS.API.STREAM.DELETE.SMITH_EVENTS",
			"$JS.API.STREAM.PURGE.SMITH_EVENTS", "$JS.API.STREAM.MSG.DELETE.SMITH_EVENTS", "$JS.API.CONSUMER.CREATE.SMITH_TASKS.x", "$SRV.PING",
		},
		[]string{"smith.event.agent.failed.*", "smith.heartbeat.*"},
		[]string{"smith.task.*", "smith.agent.*.task", "smith.supervisor.*", "_INBOX.>"},
	},
}

func TestPermissions(t *testing.T) {
	setPasswords(t)
	natstest.Bubble(t, func(t *testing.T) {
		s := natstest.Start(t, loadConf(t).inProcess)
		for _, p := range table {
			c := connect(t, s, p.user)
			c.settle = synctest.Wait
			if p.user != "supervisor" {
				p.noPublish = append(slices.Clone(p.noPublish), append(readEnvironments, "$KV.SMITH_STATE.environment.main.x")...)
				p.notHear = append(slices.Clone(p.notHear), "$KV.>", "$KV.SMITH_STATE.environment.>")
			}
			do := func(verb string, subjects []string, act func(string) error, allowed bool) {
				for _, subject := range subjects {
					if err := act(subject); err != nil {
						t.Fatalf("%s: %s %s: %v", p.user, verb, subject, err)
					}
				}
				refused := c.violations(t)
				for _, subject := range subjects {
					if slices.Contains(refused, subject) == allowed {
						t.Errorf("%s may %s on %s: %v, want %v", p.user, verb, subject, !allowed, allowed)
					}
				}
			}
			publish := func(subject string) error { return c.Publish(subject, nil) }
			hear := func(subject string) error {
				_, err := c.Subscribe(subject, func(*nats.Msg) {})
				return err
			}
			do("publish", p.publish, publish, true)
			do("publish", p.noPublish, publish, false)
			do("subscribe", p.hear, hear, true)
			do("subscribe", p.notHear, hear, false)
			c.Close()
		}
	})
}

// Every user of the file is tried, and none of them without a password.
func TestEveryUserIsTried(t *testing.T) {
	conf, err := os.ReadFile("nats-server.conf")
	if err != nil {
		t.Fatal(err)
	}
	var users, tried []string
	for _, m := range passwordVar.FindAllStringSubmatch(string(conf), -1) {
		users = append(users, m[1])
	}
	for _, p := range table {
		tried = append(tried, p.user)
	}
	if !slices.Equal(users, tried) || strings.Count(string(conf), "user: ") != len(users) {
		t.Errorf("users %v, tried %v", users, tried)
	}
}

func TestNoPasswordNoStart(t *testing.T) {
	setPasswords(t)
	if err := os.Unsetenv("SMITH_RUNNER_PASSWORD"); err != nil {
		t.Fatal(err)
	}
	if _, err := server.ProcessConfigFile("nats-server.conf"); err == nil || !strings.Contains(err.Error(), "SMITH_RUNNER_PASSWORD") {
		t.Errorf("err = %v, want one that names the missing password", err)
	}
}

func TestStrangersAreRefused(t *testing.T) {
	setPasswords(t)
	natstest.Bubble(t, func(t *testing.T) {
		s := natstest.Start(t, loadConf(t).inProcess)
		for name, opt := range map[string]nats.Option{
			"nobody": nats.Name("nobody"), "wrong password": nats.UserInfo("agent", "guess"), "unknown user": nats.UserInfo("root", "agent-secret"),
		} {
			nc, err := nats.Connect("", nats.InProcessServer(s), opt)
			if err == nil {
				nc.Close()
				t.Errorf("%s: connected", name)
			}
		}
	})
}
