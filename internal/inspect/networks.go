package inspect

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
)

// Network is an IPv4 address of an interface.
type Network struct {
	Interface string `json:"interface"`
	Address   string `json:"address"` // with its prefix: 10.244.0.1/24
	// Virtual: a program made the interface, such as a bridge, and can delete it.
	Virtual bool `json:"virtual,omitempty"`
}

// networks reports which interface has which address. The routing table, which has the
// addresses, does not name interfaces.
func (i *inspection) networks(_ context.Context, c *Condition) error {
	read := i.Networks
	if read == nil {
		read = networksOfThisHost
	}
	found, err := read()
	if err != nil {
		return fmt.Errorf("read the addresses of interfaces: %w", err)
	}
	for _, n := range found {
		// An interface that has just gone has no link.
		device, err := i.readlink(i.at("/sys/class/net/" + n.Interface))
		n.Virtual = err == nil && strings.Contains(device, "/devices/virtual/")
		c.Networks = append(c.Networks, n)
	}
	slices.SortFunc(c.Networks, func(a, b Network) int {
		return cmp.Or(cmp.Compare(a.Interface, b.Interface), cmp.Compare(a.Address, b.Address))
	})
	return nil
}

// networksOfThisHost asks the kernel, so that it needs no program of the machine.
func networksOfThisHost() ([]Network, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var all []Network
	for _, one := range interfaces {
		addresses, err := one.Addrs()
		if err != nil {
			continue // it has gone meanwhile
		}
		for _, a := range addresses {
			if own, ok := a.(*net.IPNet); ok && own.IP.To4() != nil {
				all = append(all, Network{Interface: one.Name, Address: own.String()})
			}
		}
	}
	return all, nil
}
