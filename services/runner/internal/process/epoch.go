package process

import "strings"

// Epoch names the life of a host or of a container, as "boot-id pid:[inode]
// start": pids and start times count within one. The last field is when the
// namespace's init process started, in clock ticks since boot: inodes are
// reused. It is left out where it cannot be read, and by older runners.
type Epoch string

// Ended returns what has happened between e and now that nothing of e can have
// outlived, or "" when nothing is known to have happened.
func (e Epoch) Ended(now Epoch) string {
	if e == "" || now == "" {
		return ""
	}
	boot, space, start := e.fields()
	nowBoot, nowSpace, nowStart := now.fields()
	switch {
	case boot != nowBoot:
		return "host rebooted"
	case space != nowSpace, start != "" && nowStart != "" && start != nowStart:
		return "container restarted"
	}
	return ""
}

func (e Epoch) fields() (boot, space, start string) {
	boot, rest, _ := strings.Cut(string(e), " ")
	space, start, _ = strings.Cut(rest, " ")
	return boot, space, start
}
