package router_test

import (
	"testing"
	"time"

	"github.com/mistersmith/mistersmith/internal/config"
	"github.com/mistersmith/mistersmith/services/router"
)

func TestFromFile(t *testing.T) {
	t.Parallel()
	f := config.Default()
	f.Routing.DefaultAgent = "jack"
	f.Routing.MaxQueueAge = time.Hour
	f.Routing.Types["paint"] = config.Route{AgentTypes: []string{"painter"}, Capabilities: []string{"oil"}}
	cfg := router.FromFile(f)
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	s := cfg.Scheduling
	if s.DefaultAgent != "jack" || s.MaxQueueAge != time.Hour || s.MaxAttempts != f.Routing.MaxAttempts ||
		s.Routes["paint"].Types[0] != "painter" || s.Routes["paint"].Capabilities[0] != "oil" ||
		s.Routes["research"].Types[0] != "researcher" || cfg.MaxOpenTasks != f.Limits.MaxOpenTasks {
		t.Fatalf("%+v", cfg)
	}
}
