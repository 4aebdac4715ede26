package guard

import (
	"fmt"

	"k8s.io/apimachinery/pkg/util/version"
)

// runtimeVersion: containerd does not serve the shims of another major version
// (containerd #12727, #11720).
func runtimeVersion(f Facts) string {
	change := f.Runtime.value
	var majors []uint
	for _, v := range []string{change.From, change.To} {
		parsed, err := version.ParseGeneric(v)
		if err != nil {
			return fmt.Sprintf("invalid container runtime version %q", v)
		}
		majors = append(majors, parsed.Major())
	}
	if majors[0] != majors[1] {
		return fmt.Sprintf("the major version of the container runtime would change, from %s to %s", change.From, change.To)
	}
	return ""
}

func runtimeCgroups(f Facts) string {
	if c := f.RuntimeCgroups.value; c.From != c.To {
		return fmt.Sprintf("the cgroup driver of the container runtime would change from %q to %q", c.From, c.To)
	}
	return ""
}

// runtimeKillMode: the shims of the containers live in the unit of the container
// runtime. They survive a stop of the unit only if systemd ends nothing but the
// main process.
func runtimeKillMode(f Facts) string {
	if mode := f.RuntimeKillMode.value; mode != "process" {
		return fmt.Sprintf("the unit of the container runtime has KillMode=%s, so stopping it would end every container", mode)
	}
	return ""
}
