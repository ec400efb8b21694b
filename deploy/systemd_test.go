package deploy

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestUnits holds the systemd units to the programs they start and to the users
// of nats-server.conf.
func TestUnits(t *testing.T) {
	conf := read(t, "nats-server.conf")
	known := envNames(t)
	services := servicePrograms(t)
	units, err := filepath.Glob("systemd/*.service")
	if err != nil || len(units) != len(services) {
		t.Fatalf("units %v for the services %v (%v)", units, services, err)
	}
	for _, service := range services {
		t.Run(service, func(t *testing.T) {
			unit := read(t, "systemd/smith-"+service+".service")
			main := read(t, "../cmd/"+service+"/main.go")
			for _, want := range []string{
				"ExecStart=/usr/local/lib/mistersmith/" + service + " ", "NATS_USER=" + service, "NATS_INBOX_PREFIX=_INBOX_" + service,
				"EnvironmentFile=/etc/mistersmith/" + service + ".env", "SMITH_HTTP=" + defaultHTTP(t, main), "Restart=always",
			} {
				if !strings.Contains(unit, want) {
					t.Errorf("the unit does not say %s", want)
				}
			}
			for _, want := range []string{"user: " + service + ",", `"_INBOX_` + service + `.>"`} {
				if !strings.Contains(conf, want) {
					t.Errorf("nats-server.conf does not say %s", want)
				}
			}
			for _, m := range regexp.MustCompile(`\b((?:SMITH|NATS)_[A-Z_]+)\b`).FindAllString(unit, -1) {
				if !slices.Contains(known, m) {
					t.Errorf("no program reads %s", m)
				}
			}
		})
	}
}

// Agents must outlive their runner.
func TestRunnerUnitSparesAgents(t *testing.T) {
	unit := read(t, "systemd/smith-runner.service")
	for _, want := range []string{"KillMode=process", "OOMPolicy=continue"} {
		if !strings.Contains(unit, "\n"+want+"\n") {
			t.Errorf("the runner's unit does not say %s", want)
		}
	}
	if strings.Contains(unit, "PrivateTmp") || strings.Contains(unit, "DynamicUser") {
		t.Error("agents of one runner and of the next would differ in what they see")
	}
}

// servicePrograms are the directories of cmd/ but the operator's tool.
func servicePrograms(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("../cmd")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && e.Name() != "smith" {
			names = append(names, e.Name())
		}
	}
	return names
}

// envNames are the environment variables that flags of the services name.
func envNames(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, pattern := range []string{"../internal/shell/*.go", "../services/*/*.go", "../cmd/*/main.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			for _, m := range regexp.MustCompile(`env:"([A-Z_]+)"`).FindAllStringSubmatch(read(t, file), -1) {
				names = append(names, m[1])
			}
		}
	}
	return names
}

func defaultHTTP(t *testing.T, main string) string {
	t.Helper()
	m := regexp.MustCompile(`HTTP: +"([^"]+)"`).FindStringSubmatch(main)
	if m == nil {
		t.Fatal("main.go has no default address")
	}
	return m[1]
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
