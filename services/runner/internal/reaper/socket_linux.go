package reaper

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// send sends a message whole, with descriptors that stay the sender's.
func send(conn *net.UnixConn, m message, fds ...int) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	_, _, err = conn.WriteMsgUnix(b, rights, nil)
	return err
}

// receiver reads the messages of a connection.
type receiver struct {
	conn *net.UnixConn
	b    [maxMessage]byte
	oob  [128]byte // for more descriptors than any message has
}

// next waits for a message. Descriptors that this process has no room for are
// missing. The caller closes the others.
func (r *receiver) next() (m message, fds []int, err error) {
	n, oobn, _, _, err := r.conn.ReadMsgUnix(r.b[:], r.oob[:])
	for errors.Is(err, unix.ECONNRESET) {
		// Said once of an end that left something unread. What the other had sent
		// comes after that.
		n, oobn, _, _, err = r.conn.ReadMsgUnix(r.b[:], r.oob[:])
	}
	if err == nil && n == 0 && oobn == 0 {
		err = io.EOF // packets are never empty
	}
	if err != nil {
		return message{}, nil, err
	}
	if controls, err := unix.ParseSocketControlMessage(r.oob[:oobn]); err == nil {
		for _, c := range controls {
			more, _ := unix.ParseUnixRights(&c)
			fds = append(fds, more...)
		}
	}
	if m, err = decodeMessage(r.b[:n]); err != nil {
		closeAll(fds)
		return message{}, nil, err
	}
	return m, fds, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}

// ownUser reports whether the other end of a connection is of this user, or root.
func ownUser(conn *net.UnixConn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	var peer *unix.Ucred
	ctl := raw.Control(func(fd uintptr) {
		peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	return errors.Join(ctl, err) == nil && (int(peer.Uid) == os.Geteuid() || peer.Uid == 0)
}

// maxCommand bounds a command: the kernel takes no longer one.
const maxCommand = 16 << 20
