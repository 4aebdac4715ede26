package isolate

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
)

const httpPort, doorPort = 8080, 2049

// apart is a machine with two tasks of a job, one of another job, one that v0.10
// started, a pod of the platform, and one that is not known yet.
func apart(t *testing.T) (*testMachine, rules) {
	t.Helper()
	m := newMachine(t, "one", "two", "else", "older", "system", "new")
	for name, ports := range map[string][]int{
		"machine": {22, 10250, doorPort}, "world": {22, httpPort, doorPort}, "one": {httpPort}, "two": {httpPort}, "else": {httpPort}, "older": {httpPort}, "system": {53, 9090}, "new": {httpPort},
	} {
		for _, port := range ports {
			m.serve(name, port)
		}
	}
	m.nft(fmt.Sprintf("table ip nat {\nchain prerouting {\ntype nat hook prerouting priority dstnat;\nip daddr %s tcp dport 53 dnat to %s:53\n}\n}", dnsService, m.pods["system"]))
	policy := everywhere()
	policy.Ports = []Port{{To: netip.MustParsePrefix(machineAddress + "/32"), Protocol: "tcp", First: doorPort, Last: doorPort}}
	return m, rules{
		bridge: "pai0", pods: netip.MustParsePrefix("10.244.0.0/16"), services: netip.MustParsePrefix("10.96.0.0/16"), dns: netip.MustParseAddr(dnsService),
		policy: policy, machines: addrs(machineAddress, otherMachine), closed: addrs(machineAddress, otherMachine),
		platform: []netip.Addr{m.pods["older"], m.pods["system"]},
		tasks:    []task{m.task("one", "a/1"), m.task("two", "a/1"), m.task("else", "a/2")},
		peers:    map[string][]netip.Addr{"a/1": {m.pods["one"], m.pods["two"]}, "a/2": {m.pods["else"]}},
	}
}

func TestTasksAreApart(t *testing.T) {
	m, r := apart(t)
	m.nft(r.text())
	pod := func(name string) string { return m.pods[name].String() }
	var wg sync.WaitGroup
	for _, c := range []struct {
		name, from, to string
		port           int
		ok             bool
	}{
		{"another task of its job", "one", pod("two"), httpPort, true},
		{"the outside", "one", outside, httpPort, true},
		{"DNS", "one", dnsService, 53, true},
		{"an open port of the machine", "one", machineAddress, doorPort, true},
		{"a task of another job", "one", pod("else"), httpPort, false},
		{"a task of another job, the other way", "else", pod("two"), httpPort, false},
		{"a task of v0.10", "one", pod("older"), httpPort, false},
		{"a pod of the platform", "one", pod("system"), 9090, false},
		{"the name server's pod past its service", "one", pod("system"), 53, false},
		{"ssh of its machine", "one", machineAddress, 22, false},
		{"the kubelet of its machine", "one", machineAddress, 10250, false},
		{"its machine by the address of the bridge", "one", "10.244.1.1", 22, false},
		{"the open port by another address", "one", "10.244.1.1", doorPort, false},
		{"ssh of another machine", "one", otherMachine, 22, false},
		{"the open port of another machine", "one", otherMachine, doorPort, false},
		{"metadata of a cloud", "one", metadata, httpPort, false},
		{"a new pod", "one", pod("new"), httpPort, false},
		{"the outside from a new pod", "new", outside, httpPort, true},
		{"DNS from a new pod", "new", dnsService, 53, true},
		{"a task from a new pod", "new", pod("one"), httpPort, false},
		{"the machine from a new pod", "new", machineAddress, 22, false},
		{"everything from a task of v0.10: its machine", "older", machineAddress, 22, true},
		{"everything from a task of v0.10: a pod", "older", pod("system"), 9090, true},
		{"everything from a task of v0.10: metadata", "older", metadata, httpPort, true},
		{"but no task of v0.11", "older", pod("one"), httpPort, false},
		{"a pod of the platform to the machine", "system", machineAddress, 22, true},
		{"a pod of the platform to a task", "system", pod("one"), httpPort, false},
		{"its machine to a task", "machine", pod("one"), httpPort, true},
		{"the outside to a task", "world", pod("one"), httpPort, false},
		{"the outside to a pod of the platform", "world", pod("system"), 9090, true},
	} {
		wg.Go(func() {
			limit := dropTimeout
			if c.ok {
				limit = reachTimeout
			}
			conn, err := m.dialFrom(c.from, "", c.to, c.port, limit)
			if err == nil {
				conn.Close()
			}
			if (err == nil) != c.ok {
				t.Errorf("%s: got %v, want reached %v", c.name, err, c.ok)
			}
		})
	}
	wg.Wait()
	if c, err := m.dialFrom("world", otherMachine, pod("one"), httpPort, reachTimeout); err != nil {
		t.Errorf("another machine to a task: %v", err)
	} else {
		c.Close()
	}
}

// Tasks of one machine are apart also if its kernel does not pass bridged packets on.
func TestTasksAreApartWithoutBridgeNetfilter(t *testing.T) {
	m, r := apart(t)
	m.on("machine", "sysctl -qw net.bridge.bridge-nf-call-iptables=0")
	r.bridged = true
	m.nft(r.text())
	if c, err := m.dial("one", m.pods["two"].String(), httpPort); err != nil {
		t.Errorf("another task of its job: %v", err)
	} else {
		c.Close()
	}
	for _, other := range []string{"else", "older", "system", "new"} {
		port := httpPort
		if other == "system" {
			port = 9090
		}
		if m.reaches("one", m.pods[other].String(), port) {
			t.Errorf("a task reaches %s", other)
		}
	}
}

// A running connection stays, also one that would not be allowed any more.
func TestRunningConnectionsStay(t *testing.T) {
	m, r := apart(t)
	open := map[string]net.Conn{}
	for name, to := range map[string]string{"another job": m.pods["else"].String(), "its job": m.pods["two"].String(), "outside": outside, "DNS": dnsService} {
		port := httpPort
		if to == dnsService {
			port = 53
		}
		c, err := m.dial("one", to, port)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		defer c.Close()
		open[name] = c
	}
	for _, text := range []string{r.text(), r.text()} { // written first, and replaced
		m.nft(text)
		for name, c := range open {
			if err := echo(c); err != nil {
				t.Errorf("the connection to %s ended: %v", name, err)
			}
		}
	}
}

// A task cannot send with the address of another pod, of IP or of ARP, and speaks no
// protocol that has no rules.
func TestTasksCannotSpoof(t *testing.T) {
	m, r := apart(t)
	m.nft(r.text())
	// What comes through the rules is counted after them.
	m.nft(fmt.Sprintf("table bridge count {\nchain prerouting {\ntype filter hook prerouting priority 0;\niifname %q counter\n}\n}", m.port("one")))
	passed := func() string {
		_, after, _ := strings.Cut(m.on("machine", "nft list table bridge count"), "counter packets ")
		return strings.Fields(after)[0]
	}
	one := m.pods["one"]
	for _, c := range []struct {
		name  string
		frame []byte
		ok    bool
	}{
		{"its own packet", m.udp("one", "one"), true},
		{"the address of the platform", m.udp("one", "older"), false},
		{"the address of its machine", m.ip("one", netip.MustParseAddr("10.244.1.1")), false},
		{"another MAC address", m.udp("two", "one"), false},
		{"its own ARP answer", m.arp("one", "one", one), true},
		{"an ARP answer of another pod", m.arp("one", "one", m.pods["two"]), false},
		{"an ARP answer of the gateway", m.arp("one", "one", netip.MustParseAddr("10.244.1.1")), false},
		{"an ARP answer with another MAC address", m.arp("one", "two", one), false},
		{"an ARP answer from another MAC address", m.arp("two", "one", one), false},
		{"IPv6", append(m.ethernet("one", 0x86dd), 0x60, 0, 0, 0, 0, 0, 59, 64), false},
		{"a VLAN", append(m.ethernet("one", 0x8100), 0, 5, 8, 0), false},
	} {
		before := passed()
		m.send("one", c.frame)
		if got := passed() != before; got != c.ok {
			t.Errorf("%s: got passed %v, want %v", c.name, got, c.ok)
		}
	}
	m.spoofVXLAN()
}

// spoofVXLAN sends to the vxlan device of the machine a packet that claims to be of a pod of
// another machine. Only another machine can.
func (m *testMachine) spoofVXLAN() {
	m.t.Helper()
	m.on("machine", "ip link add flannel.1 type vxlan id 1 dstport 8472 local "+machineAddress+" nolearning && ip link set flannel.1 address 5e:00:00:00:01:01 up")
	// The device takes it off the outer packet before the rules of netdev see it.
	m.nft("table netdev count {\nchain ingress {\ntype filter hook ingress device flannel.1 priority 0;\nip saddr 10.244.3.3 counter\n}\n}")
	arrived := func() string {
		_, after, _ := strings.Cut(m.on("machine", "nft list table netdev count"), "counter packets ")
		return strings.Fields(after)[0]
	}
	inner := append([]byte{0x5e, 0, 0, 0, 1, 1, 0x5e, 0, 0, 0, 1, 2, 8, 0}, datagram(netip.MustParseAddr("10.244.3.3"), m.pods["one"], httpPort, nil)...)
	packet := append([]byte{8, 0, 0, 0, 0, 0, 1, 0}, inner...)
	for _, c := range []struct {
		name, from, source string
		ok                 bool
	}{
		{"another machine", "world", otherMachine, true},
		{"a host that is no machine", "world", outside, false},
		{"a task", "one", m.pods["one"].String(), false},
		{"a task with the address of another machine", "one", otherMachine, false},
		{"a pod of the platform", "system", m.pods["system"].String(), false},
		{"a pod that is not known", "new", m.pods["new"].String(), false},
	} {
		before := arrived()
		if c.source == otherMachine && c.from != "world" {
			frame := datagram(netip.MustParseAddr(otherMachine), netip.MustParseAddr(machineAddress), vxlanPort, packet)
			gateway, err := net.ParseMAC(strings.TrimSpace(m.on("machine", "cat /sys/class/net/pai0/address")))
			if err != nil {
				m.t.Fatal(err)
			}
			m.send(c.from, append(append(append(append([]byte{}, gateway...), m.hardware(c.from)...), 8, 0), frame...))
		} else if err := m.inside(c.from, func() error {
			conn, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.ParseIP(c.source)}, &net.UDPAddr{IP: net.ParseIP(machineAddress), Port: vxlanPort})
			if err != nil {
				return err
			}
			defer conn.Close()
			_, err = conn.Write(packet)
			return err
		}); err != nil {
			m.t.Fatalf("%s: %v", c.name, err)
		}
		if got := arrived() != before; got != c.ok {
			m.t.Errorf("a packet of vxlan of %s: got arrived %v, want %v", c.name, got, c.ok)
		}
	}
}

func (m *testMachine) hardware(pod string) []byte {
	mac, err := net.ParseMAC(m.mac(pod))
	if err != nil {
		m.t.Fatal(err)
	}
	return mac
}

// ethernet is the head of a frame to the pod of the platform.
func (m *testMachine) ethernet(mac string, kind uint16) []byte {
	return binary.BigEndian.AppendUint16(append(m.hardware("system"), m.hardware(mac)...), kind)
}

// udp is a packet with the MAC address of one pod and the IP address of another.
func (m *testMachine) udp(mac, source string) []byte { return m.ip(mac, m.pods[source]) }

func (m *testMachine) ip(mac string, source netip.Addr) []byte {
	return append(m.ethernet(mac, 0x0800), datagram(source, m.pods["two"], 12345, nil)...)
}

// datagram is a packet of UDP in IP.
func datagram(from, to netip.Addr, port uint16, payload []byte) []byte {
	head := []byte{0x45, 0, 0, byte(28 + len(payload)), 0, 0, 0, 0, 64, 17, 0, 0}
	head = append(append(head, from.AsSlice()...), to.AsSlice()...)
	sum := uint32(0)
	for i := 0; i < len(head); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(head[i:]))
	}
	binary.BigEndian.PutUint16(head[10:], ^uint16(sum>>16+sum&0xffff))
	head = binary.BigEndian.AppendUint16(append(head, 0x30, 0x39), port)
	return append(append(head, 0, byte(8+len(payload)), 0, 0), payload...)
}

// arp is an answer, in a frame from one MAC address, that another one has an IP address.
func (m *testMachine) arp(from, mac string, claimed netip.Addr) []byte {
	answer := append([]byte{0, 1, 8, 0, 6, 4, 0, 2}, m.hardware(mac)...)
	answer = append(append(answer, claimed.AsSlice()...), m.hardware("system")...)
	return append(append(m.ethernet(from, 0x0806), answer...), m.pods["system"].AsSlice()...)
}
