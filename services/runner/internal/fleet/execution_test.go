package fleet

import (
	"bytes"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/mistersmith/mistersmith/pkg/contracts"
	"github.com/mistersmith/mistersmith/services/runner/internal/cgroup"
)

// TestPassedEnvironment: an agent gets the variables that it names and those of
// its file, nothing else, and none of their values is written down.
func TestPassedEnvironment(t *testing.T) {
	const secret = "sk-very-secret"
	t.Setenv("API_KEY", secret+"-1")
	t.Setenv("OTHER_KEY", secret+"-2")
	t.Setenv("SAME", "of the runner")
	r := open(t, t.TempDir())
	r.o.Env.Lookup = os.LookupEnv
	if err := os.WriteFile(filepath.Join(r.o.WorkDir, "agent.env"), []byte("FILE_KEY='"+secret+" 3'\nSAME=of the file\nBOTH=of the file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := script("a", 1, "env | grep -E 'KEY|SAME|BOTH' | sort >seen")
	cmd.PassEnv, cmd.EnvFile, cmd.Env = []string{"API_KEY", "SAME"}, "agent.env", map[string]string{"BOTH": "of the agent"}
	r.mustStart(t, cmd)
	events := r.eventsOf(t, "a", 2)
	want := "API_KEY=" + secret + "-1\nBOTH=of the agent\nFILE_KEY=" + secret + " 3\nSAME=of the file\n"
	if got, err := os.ReadFile(filepath.Join(r.dir, "seen")); string(got) != want {
		t.Errorf("the environment has\n%s%v, want\n%s", got, err, want)
	}
	for _, ev := range events {
		if bytes.Contains(ev.Data, []byte("of the file")) {
			t.Errorf("event %s has a value", ev.Type)
		}
	}
	_ = filepath.WalkDir(r.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || filepath.Base(path) == "seen" || filepath.Base(path) == "agent.env" {
			return err
		}
		text, err := os.ReadFile(path)
		if bytes.Contains(text, []byte("of the file")) {
			t.Errorf("%s has a value", path)
		}
		return err
	})
}

// TestExecutionRefused: what this host cannot do is a start that failed, with a
// reason that names it, and nothing runs.
func TestExecutionRefused(t *testing.T) {
	t.Parallel()
	r := open(t, t.TempDir())
	r.o.Groups = cgroup.At(r.dir, "r1") // which has no controllers
	bad := filepath.Join(r.dir, "bad.env")
	if err := os.WriteFile(bad, []byte("A=1\nhunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	incarnation := uint64(0)
	for want, e := range map[string]contracts.Execution{
		"pass_env: NO_SUCH_VARIABLE is not in the environment of runner r1":                                      {PassEnv: []string{"NO_SUCH_VARIABLE"}},
		"env_file: stat /none.env: no such file or directory":                                                    {EnvFile: "/none.env"},
		"env_file: " + bad + ":2: there is no = in the line":                                                     {EnvFile: bad},
		"user nosuchuser: this host has no user of that name":                                                    {User: "nosuchuser"},
		"user 12345678: this host has no user of that number":                                                    {User: "12345678"},
		"group nosuchgroup: this host has no group of that name":                                                 {Group: "nosuchgroup"},
		"limits.processes: without a cgroup the kernel counts the processes of a user":                           {User: "0", Limits: &contracts.ProcessLimits{Processes: 5}},
		"limits.memory: this host cannot hold an agent to it: no memory limit can be set, since cgroup " + r.dir: {Limits: &contracts.ProcessLimits{Memory: 1 << 30}},
		"limits.cpu: this host cannot hold an agent to it: no cpu limit can be set":                              {Limits: &contracts.ProcessLimits{CPU: 1.5}},
		"limits.open_files 1073741824: operation not permitted":                                                  {Limits: &contracts.ProcessLimits{OpenFiles: contracts.MaxLimit}},
	} {
		incarnation++
		cmd := script("a", incarnation, "exit 0")
		cmd.Execution = e
		reply := r.Start(cmd)
		if reply.Code != contracts.RunnerStartFailed || !strings.Contains(reply.Error, want) || strings.Contains(reply.Error, "hunter2") {
			t.Errorf("%+v, want %s", reply, want)
		}
	}
}

// TestAnotherUser: an agent has its user's rights, groups and home, none of the
// runner's, can write to its output by name, and is stopped like any other.
func TestAnotherUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root may start programs as another user")
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Skip(err)
	}
	r := open(t, t.TempDir())
	r.o.Env.Base["SHELL"] = "/bin/of-root"
	cmd := script("a", 1, `id -un >/dev/stdout; echo $(id -G) $HOME $USER $SHELL $(umask) $(grep processes /proc/self/limits); exec sleep 1000`)
	cmd.Dir, cmd.User, cmd.Umask, cmd.Limits = "/", "nobody", "0077", &contracts.ProcessLimits{Processes: 4000}
	r.mustStart(t, cmd)
	want := "nobody\n" + nobody.Gid + " " + nobody.HomeDir + " nobody"
	var got string
	eventually(t, "its output", func() bool {
		got = r.outputOf(t, "a")
		return strings.Count(got, "\n") > 1
	})
	if !strings.HasPrefix(got, want) || !strings.Contains(got, " 0077 Max processes 4000 4000") || strings.Contains(got, "of-root") {
		t.Errorf("%q, want %q", got, want)
	}
	if reply := r.Stop(t.Context(), contracts.StopCommand{Agent: "a", Incarnation: 1}); reply.Code != contracts.RunnerOK || reply.Exit.Signal != "SIGTERM" {
		t.Errorf("%+v", reply)
	}
	cmd = script("b", 1, `id -u; id -g; id -G`)
	cmd.User, cmd.Group, cmd.Dir = "12345678", "12345679", "/"
	r.mustStart(t, cmd)
	r.eventsOf(t, "b", 2)
	if got := r.outputOf(t, "b"); got != "12345678\n12345679\n12345679\n" {
		t.Errorf("numbers without names: %q", got)
	}
}

// TestExpandedCommand: the program has what its command refers to, and no record,
// event or answer has it.
func TestExpandedCommand(t *testing.T) {
	t.Parallel()
	const secret = "hunter2"
	r := open(t, t.TempDir())
	if err := os.Mkdir(filepath.Join(r.dir, "there"), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := script("a", 1, `echo "$1 $2" >seen`)
	cmd.Command = append(cmd.Command, "sh", "--key=${KEY}", "${MODEL:-small} $${KEY}")
	cmd.Dir, cmd.Expand, cmd.Vars = "${DIR}", true, map[string]string{"KEY": secret, "DIR": "there"}
	r.mustStart(t, cmd)
	events := r.eventsOf(t, "a", 2)
	if got, err := os.ReadFile(filepath.Join(r.dir, "there", "seen")); string(got) != "--key="+secret+" small ${KEY}\n" {
		t.Errorf("%q, %v", got, err)
	}
	for _, ev := range events {
		if bytes.Contains(ev.Data, []byte(secret)) {
			t.Errorf("%s has it: %s", ev.Type, ev.Data)
		}
	}
	cmd = script("b", 1, "${KEY} ${NONE}")
	cmd.Expand, cmd.Vars = true, map[string]string{"KEY": secret}
	if reply := r.Start(cmd); reply.Code != contracts.RunnerStartFailed || !strings.Contains(reply.Error, "command[2]: ${NONE}") || strings.Contains(reply.Error, secret) {
		t.Errorf("%+v", reply)
	}
	for _, agent := range []string{"a", "b"} {
		rec, err := r.ledger.Load(agent)
		if err != nil || len(rec.Start.Vars) > 0 || strings.Contains(strings.Join(rec.Start.Command, " "), secret) {
			t.Errorf("the record has it: %+v, %v", rec.Start, err)
		}
	}
}

// TestOutOfMemory: an end by the memory limit is told apart from a kill by anybody
// else, by what the kernel says of the group.
func TestOutOfMemory(t *testing.T) {
	t.Parallel()
	r := open(t, t.TempDir())
	r.o.Groups = cgroup.At(r.dir, "r1")
	for agent, kills := range map[string]string{"a": "1", "b": "0"} {
		pid := r.mustStart(t, script(agent, 1, forever))
		dir := r.o.Groups.Dir(agent, 1)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "memory.events"), []byte("max 9\noom 1\noom_kill "+kills+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		a := r.agent(agent)
		a.mu.Lock()
		a.rec.Start.Limits = &contracts.ProcessLimits{Memory: 64 << 20}
		a.mu.Unlock()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		failed := data[contracts.AgentFailedData](t, r.eventsOf(t, agent, 2)[1])
		if failed.Exit.OutOfMemory != (kills == "1") || strings.Contains(failed.Detail, "out of memory") != (kills == "1") {
			t.Errorf("%s: %+v: %s", agent, failed.Exit, failed.Detail)
		}
	}
}
