package isolate

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// tracked is how many connections the kernel tracks for a machine.
func (m *testMachine) tracked() int {
	m.t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(m.on("machine", "cat /proc/sys/net/netfilter/nf_conntrack_count")))
	if err != nil {
		m.t.Fatal(err)
	}
	return n
}

// flood sends packets of UDP to the outside, each from another port.
func (m *testMachine) flood(from string, count int) {
	m.t.Helper()
	err := m.inside(from, func() error {
		for i := range count {
			c, err := net.DialUDP("udp4", &net.UDPAddr{Port: 10000 + i}, &net.UDPAddr{IP: net.ParseIP(outside), Port: 9})
			if err != nil {
				return err
			}
			_, err = c.Write([]byte("x"))
			if closing := c.Close(); err == nil {
				err = closing
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		m.t.Fatalf("flood from %s: %v", from, err)
	}
}

// A task that sprays packets takes its share of the connections that the kernel tracks and
// no more. What it has open stays; others, the platform, and the machine connect.
func TestFloodOfConnectionsIsLimited(t *testing.T) {
	m, r := apart(t)
	m.nft(r.text())
	m.nft(r.connections())
	open, err := m.dial("one", outside, httpPort)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	before := m.tracked()
	m.flood("one", maxConnections+1000)
	// Entries of other programs of the test end meanwhile; those of the flood live 30 s.
	const some = 100
	if got := m.tracked() - before; got > maxConnections+some || got < maxConnections-some {
		t.Errorf("got %d more connections after a flood, want about %d", got, maxConnections)
	}
	connects := func(from string, want bool) {
		t.Helper()
		limit := dropTimeout
		if want {
			limit = reachTimeout
		}
		c, err := m.dialFrom(from, "", outside, httpPort, limit)
		if err == nil {
			c.Close()
		}
		if (err == nil) != want {
			t.Errorf("%s: got %v, want connected %v", from, err, want)
		}
	}
	if err := echo(open); err != nil {
		t.Errorf("the open connection of the task ended: %v", err)
	}
	connects("one", false)
	if c, err := m.dialFrom("one", "", machineAddress, doorPort, dropTimeout); err == nil {
		c.Close()
		t.Error("the task starts another connection to its machine")
	}
	// The rules of tasks are written again when a pod starts or ends, and with them the
	// addresses here. The count stays.
	r.platform = append(r.platform, m.pods["new"])
	m.nft(r.text())
	m.nft(r.connections())
	connects("one", false)
	for _, other := range []string{"two", "else", "system", "machine"} {
		connects(other, true)
	}
	m.flood("system", maxConnections+1000)
	connects("system", true)
	if got := m.tracked() - before; got < 2*maxConnections+1000-some {
		t.Errorf("got %d more connections, so a pod of the platform has a limit", got)
	}
}

// A kernel that refuses the limit is asked again after a minute, and tasks have their rules.
func TestLimitIsNoCondition(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/nft", []byte("#!/bin/sh\ncat >/dev/null\necho called >>"+dir+"/calls\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	calls := func() int {
		data, err := os.ReadFile(dir + "/calls")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(string(data), "called")
	}
	k := &Keeper{Options: Options{Bridge: "pai0"}}
	now := time.Now()
	k.limitConnections(t.Context(), now)
	k.limitConnections(t.Context(), now.Add(time.Second))
	if got := calls(); got != 1 || k.limit.applied != "" {
		t.Errorf("got %d calls of nft within a second, want 1", got)
	}
	k.limitConnections(t.Context(), now.Add(2*limitRetry))
	if got := calls(); got != 2 {
		t.Errorf("got %d calls of nft after a minute, want 2", got)
	}
	if !strings.Contains(k.rules().connections(), fmt.Sprintf("ct count over %d } drop", maxConnections)) {
		t.Error("the limit is missing")
	}
}
