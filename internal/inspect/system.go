package inspect

import (
	"context"
	"errors"
	"io/fs"
	"strconv"
	"strings"
)

// System is the operating system of a machine.
type System struct {
	// ID and Version are those of /etc/os-release, such as debian and 12; empty if the
	// file does not say.
	ID      string `json:"id"`
	Version string `json:"version"`
	Name    string `json:"name"` // for people
	// Systemd is the version of systemd; 0 is unknown.
	Systemd int `json:"systemd,omitempty"`
	// SELinux is SELinuxEnforcing, SELinuxPermissive, or empty without SELinux.
	SELinux string `json:"selinux,omitempty"`
}

// The modes of SELinux.
const (
	SELinuxEnforcing  = "enforcing"
	SELinuxPermissive = "permissive"
)

// osRelease is the file that describes the operating system.
const osRelease = "/etc/os-release"

// release reads NAME=value lines, with or without quotes, of os-release(5).
func release(text string) map[string]string {
	values := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, found := strings.Cut(strings.TrimSpace(line), "=")
		if found && !strings.HasPrefix(name, "#") {
			values[name] = strings.Trim(value, `"'`)
		}
	}
	return values
}

// system is the name of the operating system; empty if it has none.
func (i *inspection) system() string {
	text, err := i.read(osRelease)
	i.problem(err, string(HardwareOf), "os")
	return release(string(text))["PRETTY_NAME"]
}

// systemFacts reports the operating system.
func (i *inspection) systemFacts(ctx context.Context, c *Condition) error {
	text, err := i.read(osRelease)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	values := release(string(text))
	s := &System{ID: values["ID"], Version: values["VERSION_ID"], Name: values["PRETTY_NAME"]}
	out, err := i.Run(ctx, "systemctl", "--version")
	if f := strings.Fields(out); err == nil && len(f) > 1 { // systemd 252 (252.39-1~deb12u1)
		s.Systemd, err = strconv.Atoi(strings.SplitN(f[1], ".", 2)[0])
	}
	i.problem(err, string(ConditionOf), "systemd")
	switch enforce, err := i.read("/sys/fs/selinux/enforce"); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case strings.TrimSpace(string(enforce)) == "1":
		s.SELinux = SELinuxEnforcing
	default:
		s.SELinux = SELinuxPermissive
	}
	c.System = s
	return nil
}
