//go:build !linux

package foreground

func dieOfSignals() {}
