//go:build e2e

// Package test holds end-to-end tests of single packages: they need root and
// a host that can have local machines.
package test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/nspawn"
	"pai.dev/pai/test/localmachines"
)

// newLocal returns local machines that must leave no trace on this host.
func newLocal(t *testing.T) nspawn.Local {
	t.Helper()
	return localmachines.New(t, t.Name(), func(l nspawn.Local) { noTrace(t, l) })
}

// traces lists what exists of the machines on this host.
func traces(t *testing.T, l nspawn.Local) []string {
	t.Helper()
	mark, err := l.Mark()
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	look := func(what, command string) {
		out, err := exec.Command("sh", "-c", command).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", command, err, out)
		}
		for _, line := range strings.Split(string(out), "\n") {
			if strings.Contains(line, mark) || strings.Contains(line, l.StateDir+"/local") {
				found = append(found, what+": "+line)
			}
		}
	}
	look("network namespace", "ip netns list; ls /run/netns 2>/dev/null || true")
	look("link", "ip -o link")
	look("route", "ip -4 route show table all")
	look("mount", "cat /proc/self/mounts")
	look("process", "ps -eo pid,args --no-headers | grep -v 'ps -eo' || true")
	look("process in a group", "cat /proc/[0-9]*/cgroup 2>/dev/null | grep -v '(deleted)' || true")
	look("control group", "find /sys/fs/cgroup -type d 2>/dev/null || true")
	look("runtime directory", "find /run/systemd/nspawn 2>/dev/null || true")
	look("directory", "find "+machine.Quote(l.StateDir)+" -maxdepth 3")
	return found
}

func noTrace(t *testing.T, l nspawn.Local) {
	t.Helper()
	if left := traces(t, l); len(left) > 0 {
		t.Errorf("left behind:\n%s", strings.Join(left, "\n"))
	}
}

func on(t *testing.T, m nspawn.LocalMachine, script string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	host, err := machine.Dial(ctx, m.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	out, err := host.Run(ctx, machine.Command{Script: script})
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out.Stdout)
}

func up(t *testing.T, l nspawn.Local, n int) []nspawn.LocalMachine {
	t.Helper()
	list, err := l.Up(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < n {
		t.Fatalf("%d machines of %d", len(list), n)
	}
	for _, m := range list {
		if m.State != nspawn.StateRunning {
			t.Fatalf("%s is %s", m.Name, m.State)
		}
	}
	return list
}

// reaches checks that a machine reaches a peer's sshd by name.
func reaches(t *testing.T, from nspawn.LocalMachine, name string) {
	t.Helper()
	if banner := on(t, from, "exec timeout 5 bash -c 'read -r line </dev/tcp/"+name+"/22; echo \"$line\"'"); !strings.HasPrefix(banner, "SSH-2.0") {
		t.Errorf("%s gets %q from %s", from.Name, banner, name)
	}
}

func TestLocalMachines(t *testing.T) {
	l := newLocal(t)
	list := up(t, l, 2)
	one, two := list[0], list[1]
	if seen := traces(t, l); len(seen) < 20 {
		t.Fatalf("this test looks at the wrong things: with two machines up it sees only %q", seen)
	}

	t.Run("are machines", func(t *testing.T) {
		for _, m := range list {
			if name := on(t, m, "hostname"); name != m.Name {
				t.Errorf("%s calls itself %s", m.Name, name)
			}
			if state := on(t, m, "systemctl is-system-running || systemctl --failed"); state != "running" {
				t.Errorf("%s is %s", m.Name, state)
			}
			// What kubelet and runc do.
			on(t, m, `for c in /sys/fs/cgroup/*/; do [ "$c" = /sys/fs/cgroup/unified/ ] || { mkdir "$c/probe"; rmdir "$c/probe"; }; done; [ -w /dev/kmsg ]; echo 1 >/proc/sys/net/ipv4/ip_forward`)
			// A lookup and a connection to nowhere fail at once.
			if took := on(t, m, `s=$(date +%s); ! getent hosts absent.example >/dev/null; ! curl -sS -m 20 http://192.0.2.1/ 2>/dev/null; echo $(($(date +%s)-s))`); took > "2" {
				t.Errorf("failing took %s s", took)
			}
		}
		if on(t, one, "cat /etc/machine-id") == on(t, two, "cat /etc/machine-id") {
			t.Error("both have one machine id")
		}
	})
	t.Run("reach each other", func(t *testing.T) {
		reaches(t, one, "pai-2")
		reaches(t, two, "pai-1")
	})
	t.Run("carry the networks of pods", func(t *testing.T) {
		pods := func(m nspawn.LocalMachine, own, other, via string) {
			on(t, m, fmt.Sprintf(`ip link add cni0 type bridge && ip addr add %s/24 dev cni0 && ip link set cni0 up
				ip netns add pod && ip link add p0 type veth peer name eth0 netns pod && ip link set p0 master cni0 up
				ip -n pod addr add %s1/24 dev eth0 && ip -n pod link set eth0 up && ip -n pod route add default via %s
				ip route add %s/24 via %s; echo 1 >/proc/sys/net/ipv4/ip_forward`, own, own, own, other, via))
		}
		pods(one, "10.244.7.1", "10.244.8.0", two.Address)
		pods(two, "10.244.8.1", "10.244.7.0", one.Address)
		script := "ip netns exec pod timeout 5 bash -c 'read -r l </dev/tcp/10.244.8.1/22; echo $l'"
		if banner := on(t, one, script); !strings.HasPrefix(banner, "SSH-2.0") {
			t.Errorf("a pod gets %q", banner)
		}
	})
	t.Run("stay when asked for again", func(t *testing.T) {
		before := on(t, one, "cat /proc/sys/kernel/random/boot_id; stat -c %Y /proc/1; echo mine >>/etc/hosts")
		up(t, l, 1)
		after := on(t, one, "cat /proc/sys/kernel/random/boot_id; stat -c %Y /proc/1; tail -n 1 /etc/hosts")
		if after != before+"\nmine" {
			t.Errorf("before %q, after %q", before, after)
		}
	})
	t.Run("restart", func(t *testing.T) {
		on(t, one, "touch /run/gone /root/stays")
		if err := l.Restart(t.Context(), "pai-1"); err != nil {
			t.Fatal(err)
		}
		on(t, one, "[ ! -e /run/gone ] && [ -e /root/stays ]")
		reaches(t, two, "pai-1")
	})
	t.Run("reboot by themselves", func(t *testing.T) {
		on(t, one, "touch /run/gone; systemd-run --collect --on-active=1 systemctl reboot")
		deadline := time.Now().Add(2 * time.Minute)
		for {
			host, err := machine.Dial(t.Context(), one.Endpoint())
			if err == nil {
				_, err = host.Run(t.Context(), machine.Command{Script: "[ ! -e /run/gone ]"})
				host.Close()
			}
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("it does not come back: %v", err)
			}
			time.Sleep(200 * time.Millisecond)
		}
	})
	t.Run("kill", func(t *testing.T) {
		if err := l.Kill(t.Context(), "pai-2"); err != nil {
			t.Fatal(err)
		}
		now, err := l.List()
		if err != nil || len(now) != 2 || now[0].State != nspawn.StateRunning || now[1].State != nspawn.StateStopped {
			t.Errorf("list: %+v, %v", now, err)
		}
		up(t, l, 2)
		reaches(t, one, "pai-2")
	})
	if err := l.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	noTrace(t, l)
	if err := l.Down(t.Context()); err != nil {
		t.Errorf("down of nothing: %v", err)
	}
	if now, err := l.List(); err != nil || len(now) != 0 {
		t.Errorf("list: %+v, %v", now, err)
	}
}

// killScript kills the processes of a name in the first machine's own group.
func killScript(mark, name string) string {
	return `for p in $(find /sys/fs/cgroup -path '*/` + mark + `-1/cgroup.procs' -exec cat {} + | sort -u); do
		[ "$(cat /proc/$p/comm)" != ` + name + ` ] || kill -KILL $p; done`
}

// Remains of any kind do not stop Up, nor Down.
func TestLocalMachinesRemains(t *testing.T) {
	l := newLocal(t)
	mark, err := l.Mark()
	if err != nil {
		t.Fatal(err)
	}
	first := up(t, l, 1)[0]
	damage := map[string]string{
		"systemd-nspawn killed":       killScript(mark, "systemd-nspawn"),
		"its supervisor killed":       killScript(mark, "sh"),
		"bridge gone":                 "ip -n " + mark + " link delete bridge",
		"namespaces gone":             "ip netns delete " + mark + "; ip netns delete " + mark + "-1",
		"cable gone":                  "ip link delete " + mark,
		"namespaces without a mount":  "umount --lazy /run/netns/" + mark + "*",
		"half a machine":              "mkdir -p " + l.StateDir + "/local/machines/pai-2/building/etc",
		"local directory deleted":     "rm -rf --one-file-system " + l.StateDir + "/local",
		"empty control group of ours": "mkdir -p /sys/fs/cgroup/pids/" + mark + "-9/a/b",
	}
	for name, script := range damage {
		t.Log(name)
		if out, err := exec.Command("sh", "-ec", script).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", name, err, out)
		}
		if strings.HasPrefix(name, "namespaces") { // a machine that runs in one that has lost its name
			if err := l.Kill(t.Context(), "pai-1"); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		now := up(t, l, 1)[0]
		if got := on(t, now, "hostname"); got != "pai-1" {
			t.Errorf("%s: %q answers", name, got)
		}
		if now.Address != first.Address {
			t.Errorf("%s: the address is now %s", name, now.Address)
		}
	}
}

// If Up is cut off anywhere and run again, it continues.
func TestLocalMachinesInterrupted(t *testing.T) {
	l := newLocal(t)
	for i := range 8 {
		ctx, cancel := context.WithCancel(t.Context())
		after := rand.N(6 * time.Second)
		timer := time.AfterFunc(after, cancel)
		_, err := l.Up(ctx, 2)
		timer.Stop()
		cancel()
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Fatalf("cut off after %s: %v", after, err)
		}
		if i%2 == 1 {
			ctx, cancel := context.WithTimeout(t.Context(), rand.N(time.Second))
			if err := l.Down(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("down cut off: %v", err)
			}
			cancel()
		}
	}
	list := up(t, l, 2)
	reaches(t, list[0], "pai-2")
}
