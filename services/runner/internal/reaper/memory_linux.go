package reaper

import (
	"bufio"
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"
)

// trimMemory gives back what only the start of this process needed. The program
// is large, and most of it is a runner's: its pages come back from the file if
// they are ever wanted.
func trimMemory() {
	debug.SetGCPercent(20)
	debug.FreeOSMemory()
	smaps, err := os.Open("/proc/self/smaps")
	if err != nil {
		return
	}
	defer smaps.Close()
	var from, to uintptr
	fromFile := false
	for lines := bufio.NewScanner(smaps); lines.Scan(); {
		var begin, end uintptr
		var mode string
		if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s", &begin, &end, &mode); err == nil {
			from, to, fromFile = begin, end, mode[1] == '-' && strings.Contains(lines.Text(), " /")
		}
		// Pages that were written, such as by the linker, are not in the file.
		fields := strings.Fields(lines.Text())
		if fromFile && len(fields) > 1 && fields[0] == "Anonymous:" && fields[1] == "0" {
			_, _, _ = unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED)
		}
	}
}
