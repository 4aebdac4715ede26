package check

import (
	"fmt"
	"net/netip"

	"pai.dev/pai/internal/config"
)

// apiAddressOn is for clusters with several control-plane machines. PAI adds the address to
// the loopback interface, so packets to another host that has it would stay on the machine. A
// default route names no host.
func apiAddressOn(m observedMachine, address string) Result {
	if len(m.Networks) == 0 {
		return unknownf(m.Hostname, "addresses of interfaces unknown")
	}
	var problems []string
	for _, n := range m.Networks {
		own := n.Interface == "lo" && n.Address == address+"/32"
		if !own && covers(n.Address, address) {
			problems = append(problems, fmt.Sprintf("interface %s has %s, and %s is in this network", n.Interface, n.Address, address))
		}
	}
	for _, r := range m.Routes {
		if r.To != "0.0.0.0/0" && covers(r.To, address) {
			problems = append(problems, fmt.Sprintf("interface %s has a route to %s, and %s is in this network", r.Interface, r.To, address))
		}
	}
	return summary(m.Hostname, "set api-address in "+config.KubernetesFile+" to an address that no network of a machine has", problems, nil,
		"no network has the API address")
}

// covers reports whether an address is in a network. What cannot be read is not: the
// configuration was checked, and the kernel knows its networks.
func covers(network, address string) bool {
	n, errN := netip.ParsePrefix(network)
	a, errA := netip.ParseAddr(address)
	return errN == nil && errA == nil && n.Contains(a)
}
