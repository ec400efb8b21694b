package main

import (
	"cmp"
	"os"
	"os/user"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// operator is who orders what this program orders. What cannot be found out
// stays empty.
func operator() *contracts.Operator {
	by := contracts.Operator{Program: "smith"}
	by.Host, _ = os.Hostname()
	if u, err := user.Current(); err == nil {
		by.User = u.Username
	}
	// Under sudo the person is the one who called it.
	by.User = cmp.Or(os.Getenv("SUDO_USER"), by.User, os.Getenv("USER"))
	return &by
}
