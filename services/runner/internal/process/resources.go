package process

import (
	"errors"
	"syscall"
)

// resources are the errors that say that a host lacks something, or that its
// disk fails: no program is to blame for them, and another host may do better.
var resources = []syscall.Errno{
	syscall.EMFILE, syscall.ENFILE, syscall.ETOOMANYREFS, // descriptors
	syscall.EAGAIN, // processes
	syscall.ENOMEM, syscall.ENOBUFS,
	syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO, // disk
}

// LacksResources reports whether an error says that the host lacks descriptors,
// processes, memory or disk.
func LacksResources(err error) bool {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return false
	}
	for _, r := range resources {
		if errno == r {
			return true
		}
	}
	return false
}
