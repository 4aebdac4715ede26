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
)

// network connects the machines of one StateDir: a bridge in a dedicated network
// namespace, so that no firewall rule or kernel setting of the host affects it,
// and one link from there to the host. The bridge is the default gateway of the
// machines, and reports at once that it has no route to other networks.
type network struct {
	site   site
	Subnet netip.Prefix `json:"subnet"`
}

// The host part of addresses in the network.
const (
	hostNumber    = 1
	machineNumber = 10 // plus the index of the machine
	bridgeNumber  = 254
)

func (n network) number(i int) netip.Addr {
	a := n.Subnet.Addr().As4()
	a[3] = byte(i)
	return netip.AddrFrom4(a)
}

func (n network) address(index int) netip.Addr { return n.number(machineNumber + index) }

// hardwareAddress never changes, so that no neighbor has an outdated one after
// the machine reboots.
func (n network) hardwareAddress(index int) string {
	a := n.address(index).As4()
	return net.HardwareAddr{0x02, 0x70, a[0], a[1], a[2], a[3]}.String() // 02: locally administered
}

func (n network) path() string { return filepath.Join(n.site.dir, "network.json") }

// knownNetwork reads the network that was chosen for the first machine.
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
		return n, fmt.Errorf("read %s: %q is not an IPv4 /24 network", n.path(), n.Subnet)
	}
	return n, nil
}

// network returns the network of the site, and chooses one if there is none.
func (s site) network(ctx context.Context) (network, error) {
	n, err := s.knownNetwork()
	if !errors.Is(err, fs.ErrNotExist) {
		return n, err
	}
	if err := s.removeNetwork(ctx); err != nil { // of a state directory that was removed
		return n, err
	}
	// The lock is held until an interface shows the choice.
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
	if err := n.ensure(ctx); err != nil {
		return n, err
	}
	data, err := json.MarshalIndent(n, "", "  ")
	if err != nil {
		return n, fmt.Errorf("record the network: %w", err)
	}
	if err := writeFile(n.path(), append(data, '\n'), 0o644); err != nil {
		return n, fmt.Errorf("record the network: %w", err)
	}
	return n, nil
}

// networksLock is in a directory that only root can write to: in /run/lock, any user of the
// host could hold it, or put a link in its place.
const networksLock = "/run/pai-local/network.lock"

// lockNetworks excludes other choices of a network on this host.
func lockNetworks(ctx context.Context) (func(), error) {
	return filelock.Lock(ctx, networksLock, func() {})
}

// ensure creates the bridge and the link to the host if they are missing. Names
// in the namespace (bridge, host) need not be unique; the name outside is the
// mark.
func (n network) ensure(ctx context.Context) error {
	if err := n.checkConflict(); err != nil {
		return err
	}
	ns := n.site.mark
	all, err := n.site.all()
	if err != nil {
		return err
	}
	var ports []string
	for _, m := range all {
		ports = append(ports, m.name)
	}
	err = runScript(ctx, map[string]string{
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
for port in $ports; do # running machines, after the bridge was re-created
	ip -n "$ns" link set "$port" master bridge up 2>/dev/null || true
done
ip address replace "$host" dev "$ns"
ip link set "$ns" up
`)
	if err != nil {
		return fmt.Errorf("create the network of the local machines: %w", err)
	}
	return nil
}

// attachNetwork creates the network namespace of a stopped machine, with an
// interface eth0 on the bridge.
func (n network) attachNetwork(ctx context.Context, m container) error {
	return runScript(ctx, map[string]string{
		"ns": n.site.mark, "machine": m.mark(), "port": m.name,
		"address": n.address(m.index).String() + "/24", "mac": n.hardwareAddress(m.index), "gateway": n.number(bridgeNumber).String(),
	}, `
ip -n "$ns" link delete "$port" 2>/dev/null || true
ip netns delete "$machine" 2>/dev/null || rm -f "/run/netns/$machine"
ip netns add "$machine"
ip -n "$ns" link add "$port" type veth peer name eth0 address "$mac" netns "$machine"
ip -n "$ns" link set "$port" master bridge up
# A new namespace inherits these settings from the host.
ip netns exec "$machine" sh -c 'for f in all default eth0; do echo 0 >/proc/sys/net/ipv4/conf/$f/rp_filter; done'
ip -n "$machine" link set lo up
ip -n "$machine" address add "$address" dev eth0
ip -n "$machine" link set eth0 up
ip -n "$machine" route add default via "$gateway"
`)
}

// detachNetwork removes the network namespace of a machine.
func (s site) detachNetwork(ctx context.Context, m container) error {
	return runScript(ctx, map[string]string{"ns": s.mark, "machine": m.mark(), "port": m.name}, `
ip -n "$ns" link delete "$port" 2>/dev/null || true
[ ! -e "/run/netns/$machine" ] || ip netns delete "$machine" 2>/dev/null || rm -f "/run/netns/$machine"
`)
}

// removeNetwork removes the bridge, its namespace, and the link to the host.
func (s site) removeNetwork(ctx context.Context) error {
	unlock, err := lockNetworks(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	defer os.Remove(networksLock) // a process that waits for the lock re-creates it
	err = runScript(ctx, map[string]string{"ns": s.mark}, `
ip link delete "$ns" 2>/dev/null || true
[ ! -e "/run/netns/$ns" ] || ip netns delete "$ns" 2>/dev/null || rm -f "/run/netns/$ns"
`)
	if err != nil {
		return fmt.Errorf("remove the network of the local machines: %w", err)
	}
	return nil
}

// runScript runs a shell script on the host with variables.
func runScript(ctx context.Context, variables map[string]string, script string) error {
	env := make([]string, 0, len(variables))
	for name, value := range variables {
		env = append(env, name+"="+value)
	}
	_, err := runIn(ctx, env, "sh", "-euc", strings.TrimSpace(script))
	return err
}
