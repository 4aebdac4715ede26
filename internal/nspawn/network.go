package nspawn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"pai.dev/pai/internal/filelock"
	"pai.dev/pai/internal/pai"
)

// network is the network of one StateDir's machines: a bridge that lives in a
// network namespace of its own, so that no firewall rule and no kernel
// setting of the host's stands between machines, and one cable from there to
// the host. The bridge's own address is the machines' way to everywhere else,
// where it answers at once that there is none.
type network struct {
	site   site
	Subnet netip.Prefix `json:"subnet"`
}

// The hosts' part of the addresses of a network's members.
const (
	hostNumber    = 1
	machineNumber = 10 // of the machine before the first
	bridgeNumber  = 254
)

func (n network) number(i int) netip.Addr {
	a := n.Subnet.Addr().As4()
	a[3] = byte(i)
	return netip.AddrFrom4(a)
}

func (n network) address(index int) netip.Addr { return n.number(machineNumber + index) }

// hardwareAddress is a machine's own for ever, like its address: nobody has to
// forget an old one after it was cut off and booted again.
func (n network) hardwareAddress(index int) string {
	a := n.address(index).As4()
	return net.HardwareAddr{0x02, 0x70, a[0], a[1], a[2], a[3]}.String() // 02: locally administered
}

func (n network) path() string { return filepath.Join(n.site.dir, "network.json") }

// knownNetwork is the network that was chosen when the first machine was made.
func (s site) knownNetwork() (network, error) {
	n := network{site: s}
	data, err := os.ReadFile(n.path())
	if err != nil {
		return n, fmt.Errorf("read the network of the local machines: %w", err)
	}
	if err := json.Unmarshal(data, &n); err != nil {
		return n, fmt.Errorf("read %s: %w", n.path(), err)
	}
	if !n.Subnet.Addr().Is4() || n.Subnet.Bits() != 24 {
		return n, fmt.Errorf("read %s: %q is not a network of 24 bits", n.path(), n.Subnet)
	}
	return n, nil
}

// network returns the site's network, chosen now when there is none yet.
func (s site) network(ctx context.Context) (network, error) {
	n, err := s.knownNetwork()
	if !errors.Is(err, fs.ErrNotExist) {
		return n, err
	}
	if err := s.removeNetwork(ctx); err != nil { // of machines whose folder was removed
		return n, err
	}
	// Between the choice and the first address that shows it, nobody else chooses.
	unlock, err := lockNetworks(ctx)
	if err != nil {
		return n, err
	}
	defer unlock()
	used, err := usedNetworks(ctx)
	if err != nil {
		return n, err
	}
	if n.Subnet, err = chooseSubnet(s.mark, used); err != nil {
		return n, err
	}
	if err := n.ensureCable(ctx); err != nil {
		return n, err
	}
	data, err := json.MarshalIndent(n, "", "  ")
	if err != nil {
		return n, fmt.Errorf("remember the network: %w", err)
	}
	if err := writeFile(n.path(), append(data, '\n'), 0o644); err != nil {
		return n, fmt.Errorf("remember the network: %w", err)
	}
	return n, nil
}

const networksLock = "/run/lock/pai-local-network"

// lockNetworks keeps all others on this host from choosing a network.
func lockNetworks(ctx context.Context) (func(), error) {
	return filelock.Lock(ctx, networksLock, func() {})
}

// chooseSubnet picks a /24 in 10.224.0.0/13 that nothing on this host uses.
// Kubernetes' usual ranges (10.96/12, 10.244/16) are outside of 10.224–10.231.
// The mark decides where the search begins, so that a folder that is made
// again tends to get what it had.
func chooseSubnet(mark string, used []netip.Prefix) (netip.Prefix, error) {
	var start uint32
	for _, c := range []byte(mark) {
		start = start*31 + uint32(c)
	}
	const blocks = 8 * 256
	for i := range uint32(blocks) {
		k := (start + i) % blocks
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 224 + byte(k/256), byte(k), 0}), 24)
		free := true
		for _, u := range used {
			free = free && !p.Overlaps(u)
		}
		if free {
			return p, nil
		}
	}
	return netip.Prefix{}, pai.Errorf(pai.CodeFailed, "free one: ip route shows what is in use", "no private network is free on this host")
}

// usedNetworks are the networks that this host has an address in or a route to.
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

// ensure makes what is missing of the bridge and of the cable to the host.
func (n network) ensure(ctx context.Context) error {
	if err := n.ensureCable(ctx); err != nil {
		return fmt.Errorf("make the network of the local machines: %w", err)
	}
	return nil
}

// ensureCable works with names inside the namespace (bridge, host) that need
// not be unique, and one outside, the mark.
func (n network) ensureCable(ctx context.Context) error {
	if err := n.taken(); err != nil {
		return err
	}
	ns := n.site.mark
	folders, err := n.site.folders()
	if err != nil {
		return err
	}
	var ports []string
	for _, m := range folders {
		ports = append(ports, m.name)
	}
	return runScript(ctx, map[string]string{
		"ns": ns, "host": n.number(hostNumber).String() + "/24", "bridge": n.number(bridgeNumber).String() + "/24",
		"ports": strings.Join(ports, " "),
	}, `
ip netns exec "$ns" true 2>/dev/null || { ip netns delete "$ns" 2>/dev/null || rm -f "/run/netns/$ns"; ip netns add "$ns"; }
ip -n "$ns" link set lo up
ip -n "$ns" link show bridge >/dev/null 2>&1 || ip -n "$ns" link add bridge type bridge
ip -n "$ns" address replace "$bridge" dev bridge
ip -n "$ns" link set bridge up
ip netns exec "$ns" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
if ! ip -n "$ns" link show host >/dev/null 2>&1 || ! ip link show "$ns" >/dev/null 2>&1; then
	ip link delete "$ns" 2>/dev/null || true
	ip -n "$ns" link delete host 2>/dev/null || true
	ip link add "$ns" type veth peer name host netns "$ns"
fi
ip -n "$ns" link set host master bridge up
for port in $ports; do # of machines that run, on a bridge that is new
	ip -n "$ns" link set "$port" master bridge up 2>/dev/null || true
done
ip address replace "$host" dev "$ns"
ip link set "$ns" up
`)
}

// taken reports an interface that is not ours and has come to use our network
// since it was chosen.
func (n network) taken() error {
	interfaces, err := net.Interfaces()
	if err != nil {
		return fmt.Errorf("list the interfaces of this host: %w", err)
	}
	for _, i := range interfaces {
		addresses, err := i.Addrs()
		if err != nil || i.Name == n.site.mark {
			continue // an interface that is just going away has none
		}
		for _, a := range addresses {
			if p, err := netip.ParsePrefix(a.String()); err == nil && n.Subnet.Overlaps(p) {
				return pai.Errorf(pai.CodeRefused, "remove that interface, or these machines (paictl down)",
					"the local machines' network %s is now in use by the interface %s", n.Subnet, i.Name)
			}
		}
	}
	return nil
}

// plug gives a machine that does not run its network namespace, with an
// interface eth0 on the bridge.
func (n network) plug(ctx context.Context, m container) error {
	return runScript(ctx, map[string]string{
		"ns": n.site.mark, "machine": m.mark(), "port": m.name,
		"address": n.address(m.index).String() + "/24", "mac": n.hardwareAddress(m.index), "gateway": n.number(bridgeNumber).String(),
	}, `
ip -n "$ns" link delete "$port" 2>/dev/null || true
ip netns delete "$machine" 2>/dev/null || rm -f "/run/netns/$machine"
ip netns add "$machine"
ip -n "$ns" link add "$port" type veth peer name eth0 address "$mac" netns "$machine"
ip -n "$ns" link set "$port" master bridge up
# A new namespace starts with the host's settings of these, whatever they are.
ip netns exec "$machine" sh -c 'for f in all default eth0; do echo 0 >/proc/sys/net/ipv4/conf/$f/rp_filter; done'
ip -n "$machine" link set lo up
ip -n "$machine" address add "$address" dev eth0
ip -n "$machine" link set eth0 up
ip -n "$machine" route add default via "$gateway"
`)
}

// unplug removes a machine's network.
func (s site) unplug(ctx context.Context, m container) error {
	return runScript(ctx, map[string]string{"ns": s.mark, "machine": m.mark(), "port": m.name}, `
ip -n "$ns" link delete "$port" 2>/dev/null || true
[ ! -e "/run/netns/$machine" ] || ip netns delete "$machine" 2>/dev/null || rm -f "/run/netns/$machine"
`)
}

// removeNetwork removes the bridge, its namespace and the cable.
func (s site) removeNetwork(ctx context.Context) error {
	unlock, err := lockNetworks(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	defer os.Remove(networksLock) // while it is ours; whoever waits for it makes it anew
	err = runScript(ctx, map[string]string{"ns": s.mark}, `
ip link delete "$ns" 2>/dev/null || true
[ ! -e "/run/netns/$ns" ] || ip netns delete "$ns" 2>/dev/null || rm -f "/run/netns/$ns"
`)
	if err != nil {
		return fmt.Errorf("remove the network of the local machines: %w", err)
	}
	return nil
}

// runScript runs a shell script of the host's with variables.
func runScript(ctx context.Context, variables map[string]string, script string) error {
	env := make([]string, 0, len(variables))
	for name, value := range variables {
		env = append(env, name+"="+value)
	}
	_, err := runIn(ctx, env, "sh", "-euc", strings.TrimSpace(script))
	return err
}
