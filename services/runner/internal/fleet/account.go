package fleet

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"

	"github.com/mistersmith/mistersmith/services/runner/internal/process"
)

// account is the user that a program runs as, where that is not the runner's.
type account struct {
	process.Credentials
	// name and home are empty for a number that the host has no user of.
	name, home string
}

// resolve finds a user and group on this host, by names or numbers. A group alone
// is for the runner's own user. Neither is nil.
func resolve(name, group string) (*account, error) {
	if name == "" && group == "" {
		return nil, nil
	}
	if name == "" {
		name = strconv.Itoa(os.Geteuid())
	}
	a := &account{}
	u, err := lookUp(name, user.Lookup, user.LookupId)
	switch {
	case err == nil:
		if err = a.of(u); err != nil {
			return nil, err
		}
	case !unknown(err):
		return nil, fmt.Errorf("user %s: %w", name, err)
	default:
		if a.UID, err = strconv.Atoi(name); err != nil {
			return nil, fmt.Errorf("user %s: this host has no user of that name; create it here, name another, or place the agent on a runner that has it", name)
		}
		if group == "" {
			return nil, fmt.Errorf("user %s: this host has no user of that number, so its group is not known; name a group too", name)
		}
	}
	if group == "" {
		return a, nil
	}
	g, err := lookUp(group, user.LookupGroup, user.LookupGroupId)
	switch {
	case err == nil:
		a.GID, err = strconv.Atoi(g.Gid)
	case !unknown(err):
	default:
		if a.GID, err = strconv.Atoi(group); err != nil {
			return nil, fmt.Errorf("group %s: this host has no group of that name; create it here, name another, or place the agent on a runner that has it", group)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("group %s: %w", group, err)
	}
	return a, nil
}

// of takes over what the host knows of a user.
func (a *account) of(u *user.User) error {
	groups, err := u.GroupIds()
	if err != nil {
		return fmt.Errorf("groups of user %s: %w", u.Username, err)
	}
	numbers := make([]int, 0, 2+len(groups))
	for _, id := range append([]string{u.Uid, u.Gid}, groups...) {
		n, err := strconv.Atoi(id)
		if err != nil {
			return fmt.Errorf("user %s: %w", u.Username, err)
		}
		numbers = append(numbers, n)
	}
	a.UID, a.GID, a.Groups = numbers[0], numbers[1], numbers[2:]
	a.name, a.home = u.Username, u.HomeDir
	return nil
}

// lookUp finds an account by its name, or else by its number.
func lookUp[T any](text string, byName, byNumber func(string) (T, error)) (T, error) {
	found, err := byName(text)
	if _, number := strconv.Atoi(text); number == nil && unknown(err) {
		return byNumber(text)
	}
	return found, err
}

// unknown reports whether an error says that the host has no such account.
func unknown(err error) bool {
	var name user.UnknownUserError
	var number user.UnknownUserIdError
	var group user.UnknownGroupError
	var groupNumber user.UnknownGroupIdError
	return errors.As(err, &name) || errors.As(err, &number) || errors.As(err, &group) || errors.As(err, &groupNumber)
}
