package isolate

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netns"
)

// testMachine is a machine in network namespaces: a bridge with pods, a service
// address of DNS, a second machine, and a host outside.
type testMachine struct {
	t      *testing.T
	prefix string
	pods   map[string]netip.Addr
}

const (
	machineAddress = "10.0.0.1"
	otherMachine   = "10.0.0.3"
	outside        = "192.0.2.80"
	metadata       = "169.254.169.254"
	dnsService     = "10.96.0.10"
)

// newMachine has the pods of these names, with addresses from 10.244.1.5 on.
func newMachine(t *testing.T, pods ...string) *testMachine {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	for _, program := range []string{"ip", "nft"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	m := &testMachine{t: t, prefix: fmt.Sprintf("pt%d-", os.Getpid()), pods: map[string]netip.Addr{}}
	for _, name := range append([]string{"machine", "world"}, pods...) {
		m.shell("ip netns add " + m.prefix + name)
		t.Cleanup(func() { exec.Command("ip", "netns", "delete", m.prefix+name).Run() }) // the process ends it, too
		m.on(name, "ip link set lo up")
	}
	m.on("machine", "ip link add pai0 type bridge && ip addr add 10.244.1.1/24 dev pai0 && ip link set pai0 up")
	m.on("machine", "ip link add eth0 type veth peer name eth0 netns "+m.prefix+"world && ip addr add "+machineAddress+"/24 dev eth0 && ip link set eth0 up")
	m.on("machine", "ip route add default via 10.0.0.2 && sysctl -qw net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1")
	m.on("world", "ip addr add 10.0.0.2/24 dev eth0 && ip link set eth0 up && ip route add 10.244.0.0/16 via "+machineAddress)
	for _, a := range []string{otherMachine, outside, metadata} {
		m.on("world", "ip addr add "+a+"/32 dev lo")
	}
	m.on("machine", "ip route add "+metadata+" via 10.0.0.2 && ip route add "+otherMachine+" via 10.0.0.2")
	for i, name := range pods {
		address := netip.AddrFrom4([4]byte{10, 244, 1, byte(5 + i)})
		m.pods[name] = address
		m.on("machine", fmt.Sprintf("ip link add %s type veth peer name eth0 address %s netns %s && ip link set %s master pai0 up",
			m.port(name), m.mac(name), m.prefix+name, m.port(name)))
		m.on(name, fmt.Sprintf("ip addr add %s/24 dev eth0 && ip link set eth0 up && ip route add default via 10.244.1.1", address))
	}
	return m
}

func (m *testMachine) port(pod string) string { return "veth" + pod }

func (m *testMachine) mac(pod string) string {
	return fmt.Sprintf("5e:00:00:00:00:%02x", m.pods[pod].As4()[3])
}

func (m *testMachine) task(pod, job string) task {
	return task{address: m.pods[pod], port: m.port(pod), mac: m.mac(pod), job: job, policy: everywhere()}
}

func (m *testMachine) shell(script string) string {
	m.t.Helper()
	out, err := exec.Command("sh", "-c", script).CombinedOutput()
	if err != nil {
		m.t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

func (m *testMachine) on(name, script string) string {
	m.t.Helper()
	return m.shell("ip netns exec " + m.prefix + name + " sh -c " + "'" + script + "'")
}

// nft runs nft on the machine.
func (m *testMachine) nft(input string) {
	m.t.Helper()
	cmd := exec.Command("ip", "netns", "exec", m.prefix+"machine", "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		m.t.Fatalf("%v\n%s\n%s", err, out, input)
	}
}

// inside calls a function on a thread of a network namespace.
func (m *testMachine) inside(name string, call func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlock it: the thread ends with the goroutine
		handle, err := netns.GetFromName(m.prefix + name)
		if err == nil {
			defer handle.Close()
			err = netns.Set(handle)
		}
		if err == nil {
			err = call()
		}
		result <- err
	}()
	return <-result
}

// serve echoes what it gets, at a port of a network namespace.
func (m *testMachine) serve(name string, port int) {
	m.t.Helper()
	err := m.inside(name, func() error {
		l, err := net.Listen("tcp4", fmt.Sprintf(":%d", port))
		if err != nil {
			return err
		}
		m.t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					buffer := make([]byte, 100)
					for {
						n, err := c.Read(buffer)
						if err != nil {
							return
						}
						c.Write(buffer[:n]) // the client sees an error itself
					}
				}()
			}
		}()
		return nil
	})
	if err != nil {
		m.t.Fatalf("serve on %s: %v", name, err)
	}
}

const (
	// reachTimeout is enough for a connection on a busy host.
	reachTimeout = time.Minute
	// dropTimeout shows that packets are dropped: a connection takes less than a millisecond.
	dropTimeout = time.Second
)

// dial connects from a network namespace.
func (m *testMachine) dial(from, address string, port int) (net.Conn, error) {
	return m.dialFrom(from, "", address, port, reachTimeout)
}

// dialFrom is dial with an address of the client.
func (m *testMachine) dialFrom(from, source, address string, port int, limit time.Duration) (net.Conn, error) {
	var c net.Conn
	d := net.Dialer{Timeout: limit}
	if source != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(source)}
	}
	err := m.inside(from, func() (err error) {
		c, err = d.DialContext(m.t.Context(), "tcp4", fmt.Sprintf("%s:%d", address, port))
		return err
	})
	return c, err
}

// echo reports whether an open connection works.
func echo(c net.Conn) error {
	if err := c.SetDeadline(time.Now().Add(reachTimeout)); err != nil {
		return err
	}
	defer c.SetDeadline(time.Time{}) // what is open later sees an error itself
	if _, err := c.Write([]byte("x")); err != nil {
		return err
	}
	_, err := c.Read(make([]byte, 1))
	return err
}

// send sends a frame from the only interface of a pod.
func (m *testMachine) send(pod string, frame []byte) {
	m.t.Helper()
	err := m.inside(pod, func() error {
		i, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		s, err := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_RAW, 0)
		if err != nil {
			return err
		}
		defer syscall.Close(s)
		return syscall.Sendto(s, frame, 0, &syscall.SockaddrLinklayer{Ifindex: i.Index, Halen: 6})
	})
	if err != nil {
		m.t.Fatalf("send from %s: %v", pod, err)
	}
}
