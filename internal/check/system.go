package check

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"pai.dev/pai/internal/inspect"
)

// knownSystems are the systems whose defaults PAI knows, by ID and version; see
// docs/machines.md. The minor versions of a version do not differ in them.
var knownSystems = map[string][]string{
	"debian": {"12", "13"},
	"ubuntu": {"22.04", "24.04"},
	"rocky":  {"9"},
}

// system: an unknown system can lack programs, or forbid what PAI does, in the middle of a
// boot. A machine of a cluster has shown that it works.
func system(m observedMachine) Result {
	if m.System == nil {
		return unknownf(m.Hostname, "the operating system is unknown")
	}
	s := *m.System
	name := cmp.Or(s.Name, strings.TrimSpace(s.ID+" "+s.Version), "an operating system without /etc/os-release")
	var problems []string
	fix := "use one of the systems in docs/machines.md; to try this one, pass --skip-check=machine-system"
	if !knows(s) {
		problems = append(problems, fmt.Sprintf("PAI does not know %s", name))
	}
	if s.SELinux == inspect.SELinuxEnforcing {
		problems = append(problems, "SELinux is enforcing, and PAI has no policy for its programs")
		fix = "set SELINUX=permissive in /etc/selinux/config, and run: setenforce 0"
	}
	var warnings []string
	if m.state.Joined {
		problems, warnings = nil, problems
	}
	return summary(m.Hostname, fix, problems, warnings, "%s, systemd %d", name, s.Systemd)
}

func knows(s inspect.System) bool {
	versions := knownSystems[s.ID]
	major, _, _ := strings.Cut(s.Version, ".")
	return slices.Contains(versions, s.Version) || slices.Contains(versions, major)
}
