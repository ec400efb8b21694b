package contracts

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Execution is what an agent's program is run with on its host. What is left out
// is as the runner has it.
type Execution struct {
	// PassEnv names variables of the runner's environment that the agent gets,
	// beside those that every agent of that runner gets. A start fails where the
	// runner has no variable of that name.
	PassEnv []string `json:"pass_env,omitempty"`
	// EnvFile is a file of variables on the runner's host, which the runner reads
	// at each start, in the format of systemd's EnvironmentFile.
	EnvFile string `json:"env_file,omitempty"`
	// User and Group are names or numbers. The agent has the user's groups and no
	// others.
	User  string `json:"user,omitempty"`
	Group string `json:"group,omitempty"`
	// Umask is an octal number from 0000 to 0777.
	Umask string `json:"umask,omitempty"`
	// Nice is from -20, the largest share of the CPU, to 19.
	Nice   *int           `json:"nice,omitempty"`
	Limits *ProcessLimits `json:"limits,omitempty"`
	Output *OutputLimits  `json:"output,omitempty"`
}

// OutputLimits bound what a runner keeps of what an agent prints.
type OutputLimits struct {
	// MaxBytes takes the place of the runner's own bound; 0 leaves it.
	MaxBytes int64 `json:"max_bytes,omitempty"`
}

// ProcessLimits bound what an agent may use. What is 0 or left out is not bounded
// by them.
type ProcessLimits struct {
	// Memory is how many bytes all of its processes together may use, CPU how many
	// cores. Both need a cgroup.
	Memory int64   `json:"memory,omitempty"`
	CPU    float64 `json:"cpu,omitempty"`
	// OpenFiles is how many descriptors each of its processes may have.
	OpenFiles int `json:"open_files,omitempty"`
	// Processes is how many processes and threads it may have, where there are
	// cgroups for that; elsewhere, how many its user may have on the host.
	Processes int `json:"processes,omitempty"`
	// Core is the largest core file in bytes: 0 for none, -1 for any size.
	Core *int64 `json:"core,omitempty"`
}

// Bounds of limits.
const (
	MaxNice  = 19
	MinNice  = -20
	MaxLimit = 1 << 30 // descriptors and processes; kernels allow less
	// MinMemory is what hardly a program starts with.
	MinMemory = 1 << 20
	MinCPU    = 0.01
	MaxCPU    = 10_000
	// MinOutput is the least that the output of an agent can be bounded to.
	MinOutput = 64 << 10
)

// IsZero reports whether nothing is said of the execution.
func (e Execution) IsZero() bool {
	return len(e.PassEnv) == 0 && e.EnvFile == "" && e.User == "" && e.Group == "" && e.Umask == "" && e.Nice == nil && e.Limits == nil && e.Output == nil
}

// Validate reports everything that is wrong, or nil.
func (e Execution) Validate() error {
	var errs []error
	add := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(e.PassEnv) > MaxEnvVars {
		add("pass_env: %d variables; at most %d", len(e.PassEnv), MaxEnvVars)
	}
	for _, name := range e.PassEnv {
		if err := ValidateVariable(name); err != nil {
			add("pass_env: %w", err)
		}
	}
	if strings.ContainsRune(e.EnvFile, 0) {
		add("env_file: contains a NUL byte")
	}
	for key, name := range map[string]string{"user": e.User, "group": e.Group} {
		if err := ValidateAccount(name); name != "" && err != nil {
			add("%s: %w", key, err)
		}
	}
	if _, err := ParseUmask(e.Umask); e.Umask != "" && err != nil {
		add("umask: %w", err)
	}
	if e.Nice != nil && (*e.Nice < MinNice || *e.Nice > MaxNice) {
		add("nice: %d is outside %d to %d", *e.Nice, MinNice, MaxNice)
	}
	if l := e.Limits; l != nil {
		for key, n := range map[string]int{"open_files": l.OpenFiles, "processes": l.Processes} {
			if n < 0 || n > MaxLimit {
				add("limits.%s: %d is outside 0 to %d", key, n, MaxLimit)
			}
		}
		if l.Memory != 0 && l.Memory < MinMemory {
			add("limits.memory: %d bytes; at least %d", l.Memory, MinMemory)
		}
		if !(l.CPU == 0 || l.CPU >= MinCPU && l.CPU <= MaxCPU) { // NaN too
			add("limits.cpu: %v is outside %v to %v cores", l.CPU, MinCPU, MaxCPU)
		}
		if l.Core != nil && *l.Core < -1 {
			add("limits.core: %d is not a size; use -1 for any", *l.Core)
		}
	}
	if o := e.Output; o != nil && o.MaxBytes != 0 && o.MaxBytes < MinOutput {
		add("output.max_bytes: %d bytes; at least %d", o.MaxBytes, MinOutput)
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// EnvPrefix begins the variables that are a runner's to set.
const EnvPrefix = "SMITH_"

// ValidateVariable reports why a name is not that of a variable that an agent can
// be given, or nil.
func ValidateVariable(name string) error {
	switch {
	case !variableName.MatchString(name):
		return fmt.Errorf("%.64q cannot be a variable: letters, digits and _ only, no digit first", name)
	case strings.HasPrefix(name, EnvPrefix):
		return fmt.Errorf("variables that begin with %s are set by the runner; use another than %.64s", EnvPrefix, name)
	}
	return nil
}

var accountName = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_.@-]{0,254}\$?|[0-9]{1,10})$`)

// ValidateAccount reports why text is not the name or number of a user or group,
// or nil.
func ValidateAccount(name string) error {
	if !accountName.MatchString(name) {
		return fmt.Errorf("%.64q is not the name or number of an account", name)
	}
	if n, err := strconv.ParseUint(name, 10, 64); err == nil && n >= 1<<32-1 {
		return fmt.Errorf("%d is not the number of an account; they end at %d", n, uint32(1<<32-2))
	}
	return nil
}

// ParseUmask reads an octal umask.
func ParseUmask(text string) (int, error) {
	n, err := strconv.ParseUint(text, 8, 32)
	if err != nil || n > 0o777 {
		return 0, fmt.Errorf("%.16q is not an umask; write an octal number such as 0027", text)
	}
	return int(n), nil
}
