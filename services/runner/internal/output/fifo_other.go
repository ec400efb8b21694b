//go:build !linux

package output

func enlarge(int) {}

func empty(int) bool { return false }
