package nspawn

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"pai.dev/pai/internal/pai"
)

// chooseSubnet returns a /24 in 10.224.0.0/13 that this host does not use. The
// default ranges of Kubernetes (10.96/12, 10.244/16) are outside of it. The
// search starts at a hash of the mark, so that a state directory that is
// re-created tends to get the same network.
func chooseSubnet(mark string, used []netip.Prefix) (netip.Prefix, error) {
	var start uint32
	for _, c := range []byte(mark) {
		start = start*31 + uint32(c)
	}
	const blocks = 8 * 256
	for i := range uint32(blocks) {
		k := (start + i) % blocks
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 224 + byte(k/256), byte(k), 0}), 24)
		if !slices.ContainsFunc(used, p.Overlaps) {
			return p, nil
		}
	}
	return netip.Prefix{}, pai.Errorf(pai.CodeFailed, "free one of them; to see the networks in use, run: ip route", "all networks of %s are in use on this host", "10.224.0.0/13")
}

// usedNetworks are the networks of the addresses and routes of this host.
func usedNetworks(ctx context.Context) ([]netip.Prefix, error) {
	var used []netip.Prefix
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list the addresses of this host: %w", err)
	}
	for _, a := range addresses {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			used = append(used, p.Masked())
		}
	}
	out, err := run(ctx, "ip", "-4", "-json", "route", "show", "table", "all")
	if err != nil {
		return nil, fmt.Errorf("list the routes of this host: %w", err)
	}
	var routes []struct {
		Dst string `json:"dst"`
	}
	if err := json.Unmarshal([]byte(out), &routes); err != nil {
		return nil, fmt.Errorf("read the routes of this host: %w", err)
	}
	for _, r := range routes {
		if p, err := netip.ParsePrefix(r.Dst); err == nil && p.Bits() > 0 {
			used = append(used, p.Masked())
		} else if a, err := netip.ParseAddr(r.Dst); err == nil {
			used = append(used, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	return used, nil
}

// checkConflict returns an error if another interface uses the network.
func (n network) checkConflict() error {
	interfaces, err := net.Interfaces()
	if err != nil {
		return fmt.Errorf("list the interfaces of this host: %w", err)
	}
	for _, i := range interfaces {
		addresses, err := i.Addrs()
		if err != nil || i.Name == n.site.mark {
			continue // an interface that is being removed has no addresses
		}
		for _, a := range addresses {
			if p, err := netip.ParsePrefix(a.String()); err == nil && n.Subnet.Overlaps(p) {
				return pai.Errorf(pai.CodeRefused, "remove that interface, or delete the machines; run: paictl down",
					"the network %s of the local machines is also used by interface %s", n.Subnet, i.Name)
			}
		}
	}
	return nil
}
