package reaper

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// surroundings returns a digest of the program that this process runs, and of all
// that the programs it starts inherit. A runner that was installed anew, or whose
// service got other limits or rights, starts its agents by a reaper that has them.
func surroundings() (string, error) {
	var program unix.Stat_t
	if err := unix.Stat("/proc/self/exe", &program); err != nil {
		return "", fmt.Errorf("look at this program: %w", err)
	}
	nice, _ := unix.Getpriority(unix.PRIO_PROCESS, 0)
	sum := sha256.New()
	fmt.Fprintln(sum, program.Dev, program.Ino, program.Mtim, nice)
	for _, space := range []string{"cgroup", "ipc", "mnt", "net", "user", "uts"} {
		target, _ := os.Readlink("/proc/self/ns/" + space)
		fmt.Fprintln(sum, target)
	}
	for _, file := range []string{"cgroup", "limits", "oom_score_adj"} {
		text, _ := os.ReadFile("/proc/self/" + file)
		fmt.Fprintf(sum, "%s\n", text)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(status)) {
		name, _, _ := strings.Cut(line, ":")
		switch name {
		case "Umask", "Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Seccomp_filters":
			fmt.Fprint(sum, line)
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
