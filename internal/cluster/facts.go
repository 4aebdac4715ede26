package cluster

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
)

// facts are what the settings of a machine depend on.
type facts struct {
	CgroupV1 bool
	// OOMRestricted: the machine cannot lower the OOM score of a process,
	// because it lacks CAP_SYS_RESOURCE, and the runtime must not try.
	OOMRestricted bool
	// Resolver: the machine has a resolver that pods can use.
	Resolver bool
	// Overlay: the directory of containerd is on an overlay, where overlayfs does
	// not work.
	Overlay bool
}

func readFacts(ctx context.Context, h machine.Host) (facts, error) {
	out, err := sh(ctx, h, `
mkdir -p %[1]s
[ -e /sys/fs/cgroup/cgroup.controllers ] && echo cgroup 2 || echo cgroup 1
echo capabilities "$(sed -n 's/^CapEff:[[:space:]]*//p' /proc/1/status)"
grep -q '^nameserver' %[2]s 2>/dev/null && echo resolver yes || echo resolver no
echo filesystem "$(stat -f -c %%T %[1]s)"`, layout.ContainerdDir, layout.ResolverFile)
	if err != nil {
		return facts{}, fmt.Errorf("observe machine %q: %w", h.Name(), err)
	}
	return parseFacts(out)
}

// capSysResource is the bit of CAP_SYS_RESOURCE (linux/capability.h).
const capSysResource = 24

func parseFacts(out string) (facts, error) {
	var f facts
	for line := range strings.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch key {
		case "cgroup":
			f.CgroupV1 = value == "1"
		case "capabilities":
			caps, err := strconv.ParseUint(value, 16, 64)
			if err != nil {
				return f, fmt.Errorf("read the capabilities of the machine: %w", err)
			}
			f.OOMRestricted = caps&(1<<capSysResource) == 0
		case "resolver":
			f.Resolver = value == "yes"
		case "filesystem":
			f.Overlay = strings.HasPrefix(value, "overlay")
		}
	}
	return f, nil
}
