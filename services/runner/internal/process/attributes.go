package process

// Attributes are what a program has that is not its runner's. The zero value
// changes nothing. They are plain values: names are resolved before.
type Attributes struct {
	User   *Credentials `json:"user,omitempty"`
	Umask  *int         `json:"umask,omitempty"`
	Nice   *int         `json:"nice,omitempty"` // -20 to 19
	Limits []Limit      `json:"limits,omitempty"`
	// Cgroup is the directory of the control group that the program starts in.
	Cgroup string `json:"cgroup,omitempty"`
}

// Credentials are the user and all groups of a program.
type Credentials struct {
	UID    int   `json:"uid"`
	GID    int   `json:"gid"`
	Groups []int `json:"groups"`
}

// Resource is a limit of setrlimit(2), by the name that users have for it.
type Resource string

// Resources that can be limited without a cgroup.
const (
	OpenFiles Resource = "open_files"
	Processes Resource = "processes" // of the user, on the whole host; root has no limit
	Core      Resource = "core"      // bytes
)

// Unlimited is the value of a limit that bounds nothing.
const Unlimited = ^uint64(0)

// Limit is a soft and hard limit.
type Limit struct {
	Resource Resource `json:"resource"`
	Value    uint64   `json:"value"`
}

// none reports whether nothing is to be changed by the program itself.
func (a Attributes) none() bool { return a.User == nil && a.userAlone() }

// userAlone reports whether nothing but the user is to be changed, which a fork can
// do by itself.
func (a Attributes) userAlone() bool {
	return a.Umask == nil && a.Nice == nil && len(a.Limits) == 0
}
