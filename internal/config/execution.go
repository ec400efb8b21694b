package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mistersmith/mistersmith/pkg/contracts"
)

// readExecution reads what a program is run with on its host.
func readExecution(o *object, e *contracts.Execution) {
	readPassEnv(o, &e.PassEnv)
	readAccount(o, "user", &e.User)
	readAccount(o, "group", &e.Group)
	if v, ok := o.scalar("umask", "an octal number such as 0027"); ok {
		n, err := contracts.ParseUmask(v.node.Value)
		if err != nil {
			v.fail("%v", err)
		}
		e.Umask = fmt.Sprintf("%04o", n) // files that write it otherwise say the same
	}
	if o.has("nice") {
		e.Nice = new(int)
		o.integer("nice", e.Nice, contracts.MinNice, contracts.MaxNice)
	}
	if limits := o.section("limits"); o.has("limits") {
		e.Limits = readProcessLimits(limits)
	}
	if output := o.section("output"); o.has("output") {
		l := contracts.OutputLimits{}
		readMaxOutput(output, &l.MaxBytes)
		output.done(nil)
		if l.MaxBytes > 0 { // otherwise the same as none
			e.Output = &l
		}
	}
}

func readProcessLimits(o *object) *contracts.ProcessLimits {
	l := &contracts.ProcessLimits{}
	o.bytes("memory", &l.Memory, contracts.MinMemory)
	o.number("cpu", &l.CPU, contracts.MinCPU, contracts.MaxCPU)
	o.integer("open_files", &l.OpenFiles, 1, contracts.MaxLimit)
	o.integer("processes", &l.Processes, 1, contracts.MaxLimit)
	if v, ok := o.scalar("core", `a size such as "100MiB", or infinity`); ok {
		l.Core = new(int64)
		if *l.Core = -1; fold(v.node.Value) != "infinity" {
			v.bytes(l.Core, 0)
		}
	}
	o.done(nil)
	if *l == (contracts.ProcessLimits{}) {
		return nil // the same as none
	}
	return l
}

func readAccount(o *object, key string, dst *string) {
	v, ok := o.scalar(key, "a name or a number")
	if !ok {
		return
	}
	if err := contracts.ValidateAccount(v.node.Value); err != nil {
		v.fail("%v", err)
		return
	}
	*dst = v.node.Value
}

// readPassEnv reads the names of variables as a set.
func readPassEnv(o *object, dst *[]string) {
	v, ok := o.get("pass_env")
	if !ok {
		return
	}
	names := v.list("variables")
	if len(names) > contracts.MaxEnvVars {
		v.fail("%d variables are too many; at most %d are allowed", len(names), contracts.MaxEnvVars)
		return
	}
	for _, n := range names {
		switch err := contracts.ValidateVariable(n.node.Value); {
		case !n.clean("the name of a variable"):
		case strings.Contains(n.node.Value, "="):
			n.fail("pass_env names variables of the runner's environment; give a value in env, as NAME: value")
		case err != nil:
			n.fail("%v", err)
		default:
			*dst = append(*dst, n.node.Value)
		}
	}
	slices.Sort(*dst)
	*dst = slices.Compact(*dst)
}
