package check

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/plan"
)

// podBridge is the interface that PAI makes for pods. An interrupted clean can leave it.
const podBridge = "pai0"

func ranges(ctx context.Context, w *world) ([]Result, error) {
	return w.eachMachine(ctx, func(m observedMachine) Result {
		if w.Config.SeveralControlPlanes() {
			if r := apiAddressOn(m, w.Config.Kubernetes.APIAddress); r.Outcome != OK {
				return r
			}
		}
		return rangesOf(m, w.Config.Kubernetes)
	})
}

// rangesOf: the kernel prefers the network of an attached interface to a route, so
// packets to pods and services would go to what another cluster left. A machine in the
// cluster has addresses of PAI in these ranges.
func rangesOf(m observedMachine, k config.Kubernetes) Result {
	if m.hasKubelet() || m.hasRole(plan.RoleNetwork) {
		return okay(m.Hostname, "the machine is in the cluster, and has its addresses")
	}
	if len(m.Networks) == 0 {
		return unknownf(m.Hostname, "addresses of interfaces unknown")
	}
	var problems, remove, keys []string
	for _, n := range m.Networks {
		if n.Interface == podBridge {
			continue
		}
		for _, r := range []struct{ what, key, text string }{
			{"pods", "pod-cluster-ip-range", k.PodClusterIPRange},
			{"services", "service-cluster-ip-range", k.ServiceClusterIPRange},
		} {
			if !within(n.Address, r.text) {
				continue
			}
			problems = append(problems, fmt.Sprintf("interface %s has %s, which is in the range of %s, %s", n.Interface, n.Address, r.what, r.text))
			keys = appendNew(keys, r.key)
			if n.Virtual {
				remove = appendNew(remove, "ip link delete "+n.Interface)
			}
		}
	}
	return summary(m.Hostname, rangesFix(remove, keys), problems, nil, "no other network has addresses of pods or services")
}

// rangesFix: only what a program made can be deleted.
func rangesFix(remove, keys []string) string {
	other := "set " + strings.Join(keys, " and ") + " in " + config.KubernetesFile + " to a range that no machine uses"
	if len(remove) == 0 {
		return other
	}
	return "if another cluster left it, remove that cluster; then reboot the machine or, on the machine, run: " + strings.Join(remove, " && ") +
		"; if the machine needs it, " + other
}

// within reports whether an address is in a range. What cannot be read is not: the
// configuration was checked, and the kernel knows its addresses.
func within(address, in string) bool {
	a, errA := netip.ParsePrefix(address)
	r, errR := netip.ParsePrefix(in)
	return errA == nil && errR == nil && r.Contains(a.Addr())
}

func appendNew(words []string, word string) []string {
	if slices.Contains(words, word) {
		return words
	}
	return append(words, word)
}
