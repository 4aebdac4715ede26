package inspect

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"pai.dev/pai/internal/layout"
)

// kernel tests features instead of loaded modules: a module can be built in.
func (i *inspection) kernel(ctx context.Context, c *Condition) error {
	optional := func(path string) string {
		text, err := i.read(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			i.problem(err, string(ConditionOf), path)
		}
		return strings.TrimSpace(string(text))
	}
	c.CgroupVersion, c.Controllers = 1, nil
	if unified, err := i.exists("/sys/fs/cgroup/cgroup.controllers"); err != nil {
		return err
	} else if unified {
		c.CgroupVersion, c.Controllers = 2, strings.Fields(optional("/sys/fs/cgroup/cgroup.controllers"))
	} else {
		for line := range strings.Lines(optional("/proc/cgroups")) { // name, hierarchy, groups, enabled
			if f := strings.Fields(line); len(f) == 4 && f[3] == "1" {
				c.Controllers = append(c.Controllers, f[0])
			}
		}
	}
	_, nftErr := i.Run(ctx, "nft", "list", "tables")
	bridge, err := i.exists("/proc/sys/net/bridge/bridge-nf-call-iptables")
	if err != nil {
		return err
	}
	c.Kernel = map[string]bool{
		"overlay":    slices.Contains(strings.Fields(optional("/proc/filesystems")), "overlay") || i.hasModule(ctx, "overlay", optional),
		"nftables":   nftErr == nil,
		"bridge-nf":  bridge,
		"vxlan":      i.hasModule(ctx, "vxlan", optional),
		"forwarding": optional("/proc/sys/net/ipv4/ip_forward") == "1",
	}
	var s syscall.Statfs_t
	if _, err := i.statfs(layout.ContainerdDir, &s); err != nil {
		return err
	}
	c.Overlay = s.Type == overlayMagic
	return nil
}

// hasModule reports whether a module is loaded, can be loaded, or is built in. The first
// step of a boot loads those that PAI needs.
func (i *inspection) hasModule(ctx context.Context, name string, optional func(string) string) bool {
	if loaded, err := i.exists("/sys/module/" + name); err == nil && loaded {
		return true
	}
	if _, err := i.Run(ctx, "modprobe", "-n", name); err == nil {
		return true
	}
	return strings.Contains(optional("/lib/modules/"+optional("/proc/sys/kernel/osrelease")+"/modules.builtin"), "/"+name+".ko")
}

// Lookup is the lookup of a name.
type Lookup struct {
	Name    string
	Took    time.Duration
	Address string // empty if there is none
}

// lookupTimeout limits one lookup.
const lookupTimeout = 3 * time.Second

// lookups starts lookups, which can take long, and returns how to wait for them:
// of the API, of the machine, and of a name that does not exist.
func (i *inspection) lookups(ctx context.Context) func() []Lookup {
	hostname, err := i.read("/proc/sys/kernel/hostname")
	i.problem(err, string(ConditionOf), "hostname")
	names := []string{layout.APIName, strings.TrimSpace(string(hostname)), fmt.Sprintf("pai-check-%d.pai.internal", os.Getpid())}
	found := make([]Lookup, len(names))
	var wg sync.WaitGroup
	for n, name := range names {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
			defer cancel()
			started := time.Now()
			out, _ := i.Run(ctx, "getent", "ahostsv4", name) // an error means that there is no address
			found[n] = Lookup{Name: name, Took: time.Since(started)}
			if f := strings.Fields(out); len(f) > 0 {
				found[n].Address = f[0]
			}
		})
	}
	return func() []Lookup { wg.Wait(); return found }
}
