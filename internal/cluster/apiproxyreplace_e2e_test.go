//go:build e2e

package cluster

import (
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/test/netns"
)

// TestNewConnectionsWaitForTheNextProxy runs the scripts around the replacement of a proxy in a
// network namespace. A connection that is made while nothing listens succeeds once something
// does, and a pause that is not ended is over at its timeout.
func TestNewConnectionsWaitForTheNextProxy(t *testing.T) {
	const namespace = "pai-test-pause"
	remove := func() { exec.Command("ip", "netns", "delete", namespace).Run() } // there may be none
	remove()
	t.Cleanup(remove)
	inside := func(args ...string) *exec.Cmd {
		return exec.CommandContext(t.Context(), "ip", append([]string{"netns", "exec", namespace}, args...)...)
	}
	run := func(script string) {
		t.Helper()
		if out, err := inside("sh", "-euc", script).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", script, err, out)
		}
	}
	if out, err := exec.CommandContext(t.Context(), "ip", "netns", "add", namespace).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	run("ip link set lo up; ip address add 10.213.78.1/32 dev lo")
	connect := func(address string) error {
		return netns.In("/run/netns/"+namespace, func() error {
			c, err := net.DialTimeout("tcp", address+":6443", 20*time.Second)
			if err == nil {
				c.Close()
			}
			return err
		})
	}
	listen := func(address string) {
		t.Helper()
		if err := netns.In("/run/netns/"+namespace, func() error {
			l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address+":6443")
			if err == nil {
				t.Cleanup(func() { l.Close() })
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	if connect("127.0.0.1") == nil {
		t.Fatal("a connection succeeded although nothing listens")
	}

	run(pauseScript(6443))
	run(pauseScript(6443)) // of an attempt that is repeated
	addresses := []string{"127.0.0.1", "10.213.78.1"}
	result := make(chan error, len(addresses))
	for _, address := range addresses {
		go func() { result <- connect(address) }()
	}
	deadline := time.Now().Add(10 * time.Second)
	for { // until the first packets were dropped
		out, err := inside("ss", "-Htn", "state", "syn-sent").CombinedOutput()
		if err == nil && strings.Count(string(out), "\n") == len(addresses) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d connections do not wait: %v\n%s", len(addresses), err, out)
		}
		time.Sleep(10 * time.Millisecond)
	}
	resumed := make(chan string, 1)
	go func() {
		out, _ := inside("sh", "-euc", resumeScript(6443, len(addresses))).CombinedOutput()
		resumed <- string(out)
	}()
	listen(addresses[0])
	time.Sleep(300 * time.Millisecond) // ten times the pause between two looks of the script
	select {
	case out := <-resumed:
		t.Errorf("connections were let in before the proxy listened on each address: %s", out)
	default:
	}
	listen(addresses[1])
	for range addresses {
		if err := <-result; err != nil {
			t.Errorf("a connection that waited failed: %v", err)
		}
	}
	if out := <-resumed; out != "" {
		t.Errorf("the end of the pause said %s", out)
	}
	if out, _ := inside("nft", "list", "tables").CombinedOutput(); strings.Contains(string(out), pauseTable) {
		t.Errorf("the rules are left: %s", out)
	}

	run(pauseScript(6443))
	began := time.Now()
	if err := connect(addresses[0]); err != nil {
		t.Errorf("the pause did not end: %v", err)
	}
	if waited := time.Since(began); waited < time.Second {
		t.Errorf("the first packet was not dropped: the connection waited %s", waited)
	}
}
