package deploy

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// TestWhatPermissionsCannotSay shows the limits that README.md tells of, so that
// the page is corrected when a nats-server of the future can do more.
func TestWhatPermissionsCannotSay(t *testing.T) {
	setPasswords(t)
	natstest.Bubble(t, func(t *testing.T) {
		s := natstest.Start(t, loadConf(t).inProcess)
		store, agent, observer := connect(t, s, "eventstore"), connect(t, s, "agent"), connect(t, s, "observer")
		js := natstest.JetStream(t, store.Conn)
		if _, err := js.CreateStream(t.Context(), contracts.EventStreamConfig(contracts.StreamOptions{})); err != nil {
			t.Fatal(err)
		}

		t.Log("agents that share a user can speak as one another")
		victim := hear(t, connect(t, s, "detector"), "smith.heartbeat.victim")
		publish(t, agent, "smith.heartbeat.victim", "")
		if _, err := victim.NextMsg(time.Second); err != nil {
			t.Errorf("the beat: %v", err)
		}

		t.Log("who may create a consumer may have stored bytes delivered to any subject")
		tasks := hear(t, connect(t, s, "router"), "smith.task.research")
		publish(t, agent, "smith.event.custom.x.y", "anything")
		old, err := observer.JetStream()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := old.AddConsumer(contracts.EventStream, &nats.ConsumerConfig{
			Name: "x", DeliverSubject: "smith.task.research", FilterSubject: "smith.event.custom.x.y", AckPolicy: nats.AckNonePolicy,
		}); err != nil {
			t.Fatal(err)
		}
		if msg, err := tasks.NextMsg(time.Second); err != nil || string(msg.Data) != "anything" {
			t.Errorf("the task: %v, %v", msg, err)
		}
	})
}

func hear(t *testing.T, c *client, subject string) *nats.Subscription {
	t.Helper()
	sub, err := c.SubscribeSync(subject)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	return sub
}

func publish(t *testing.T, c *client, subject, body string) {
	t.Helper()
	if err := c.Publish(subject, []byte(body)); err != nil {
		t.Fatal(err)
	}
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
}
