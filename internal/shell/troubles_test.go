package shell_test

import (
	"bufio"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mistersmith/mistersmith/internal/capture"
	"github.com/mistersmith/mistersmith/internal/natstest"
	"github.com/mistersmith/mistersmith/internal/shell"
)

// A subscription whose buffer is full again and again is a handful of lines in
// the log, which tell how often and how much was lost; another trouble is not
// hidden by it.
func TestSlowConsumerDoesNotFloodTheLog(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		s := natstest.Start(t)
		var out capture.Buffer
		nc := s.Connect(t, shell.ConnectionOptions("slow", slog.New(slog.NewJSONHandler(&out, nil)))...)
		gate := make(chan struct{})
		subscribe := func(subject string) *nats.Subscription {
			sub, err := nc.Subscribe(subject, func(*nats.Msg) { <-gate })
			if err == nil {
				err = sub.SetPendingLimits(2, -1)
			}
			if err != nil {
				t.Fatal(err)
			}
			return sub
		}
		beats, other := subscribe("beats"), subscribe("other")
		_ = nc.Flush()
		from := s.Connect(t)
		overflow := func(subject string) {
			for range 5 {
				_ = from.Publish(subject, nil)
			}
			_ = from.Flush()
			synctest.Wait()
			for range 2 {
				gate <- struct{}{}
			}
			synctest.Wait()
		}
		const times = 250
		for i := range times { // for 25 s
			overflow("beats")
			if i == 100 {
				overflow("other")
			}
			<-time.After(100 * time.Millisecond)
		}
		dropped, err := beats.Dropped()
		if err != nil || dropped != 3*times {
			t.Fatalf("%d dropped, %v", dropped, err)
		}
		if dropped, _ := other.Dropped(); dropped != 3 {
			t.Fatalf("%d dropped of the other", dropped)
		}
		lines, told := map[string]int{}, 0.0
		in := bufio.NewScanner(strings.NewReader(out.String()))
		for in.Scan() {
			var line map[string]any
			if err := json.Unmarshal(in.Bytes(), &line); err != nil {
				t.Fatal(err)
			}
			if line["error"] != nats.ErrSlowConsumer.Error() || line["dropped_so_far"] == nil {
				t.Errorf("%s", in.Text())
			}
			subject, _ := line["subject"].(string)
			lines[subject]++
			told++
			if n, some := line["suppressed"].(float64); some {
				told += n
			}
		}
		if lines["beats"] != 3 || lines["other"] != 1 {
			t.Errorf("lines: %v", lines)
		}
		if told < times-100 {
			t.Errorf("%g of %d told of or counted", told, times+1)
		}
		close(gate)
	})
}
