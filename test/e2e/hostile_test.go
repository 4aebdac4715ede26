//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestHostileJobs runs jobs that fork without end, fill the disk, and use all memory
// beside one that does its work. The machine answers meanwhile, the other job is
// not touched, and each culprit ends, or is stopped, with a reason that its user reads.
func TestHostileJobs(t *testing.T) {
	inTestAll(t, "three minutes or more on another cluster")
	o := newOperator(t, "hostile")
	o.buildBundle(newer)
	o.run(10*time.Minute, "up", "--yes")
	o.editServices("virtual-clusters:\n  default: {}", "virtual-clusters:\n  default:\n    task-disk-mb: 512")
	o.run(5*time.Minute, "service", "start", "rest-server", "--yes")
	o.submit("test/e2e/testdata/hold.yaml", 2)
	before := o.containersOf("hold")

	o.loadRootImage()
	o.part("a task has few rights", func(o *operator) {
		o.hostile("rights", 64, "grep -E 'NoNewPrivs|Seccomp:|CapEff|CapBnd' /proc/1/status; cat /proc/self/cgroup")
		o.hasState("rights", "SUCCEEDED")
		logs := strings.Join(strings.Fields(o.run(time.Minute, "job", "logs", "rights")), " ")
		// CHOWN, DAC_OVERRIDE, FOWNER, KILL, SETGID, SETUID, and SYS_CHROOT.
		for _, want := range []string{"NoNewPrivs: 1", "Seccomp: 2", "CapEff: 00000000000400eb", "CapBnd: 00000000000400eb"} {
			if !strings.Contains(logs, want) {
				o.t.Errorf("got %s, want %s", logs, want)
			}
		}
	})
	o.part("files have the modes of the CIS table", (*operator).cisFiles)
	o.part("a label of an image reaches no plugin of containerd", func(o *operator) {
		o.hostile("labels", 64, "sleep 600")
		o.eventually(time.Minute, "the task runs", func() (bool, string) { return len(o.containersOf("labels")) == 1, "" })
		id := strings.TrimPrefix(o.containersOf("labels")[0].ID, "containerd://")
		labels := o.on("pai-1", "/opt/pai/role/containerd/bin/ctr -n k8s.io containers info "+id)
		if strings.Contains(labels, hostileLabel) || !strings.Contains(labels, `"team": "red"`) {
			o.t.Errorf("got the container\n%s\nwant the label team, and not %s", labels, hostileLabel)
		}
		o.stopJob("labels")
	})
	o.part("output is whole over rotations", (*operator).outputOverRotations)
	for _, c := range []struct {
		name     string
		memoryMB int
		command  string
		fails    bool   // by itself, else its user stops it
		reason   string // of a failure
		says     string // in its output, if it is only held at its limit and not evicted
	}{
		{"memory", 128, "tail /dev/zero", true, "it needed more memory than the task has", ""},
		{"disk", 128, "dd if=/dev/zero of=/fill bs=1M count=1500; sleep 600", true, "ephemeral", ""},
		{"log", 128, "yes 0123456789012345678901234567890123456789", false, "ephemeral", "0123456789"},
		{"fork", 512, "f() { f | f & }; f; sleep 600", false, "", "fork"},
	} {
		o.part(c.name, func(o *operator) {
			o.hostile(c.name, c.memoryMB, c.command)
			o.answersFor(30 * time.Second)
			if c.says != "" {
				out, err := o.trySoon("job", "logs", c.name, "--tail", "50")
				if evicted := strings.Contains(fmt.Sprint(err), "it was evicted, which deletes its output"); !evicted && !strings.Contains(out, c.says) {
					o.t.Errorf("its user reads in its output\n%s\n%v, want %q", out, err, c.says)
				}
			}
			fails := c.fails
			if !fails { // a fast machine writes more than the disk of its task has
				_, err := o.trySoon("job", "stop", c.name)
				fails = err != nil
			}
			if fails {
				o.hasState(c.name, "FAILED")
				if out := o.run(time.Minute, "job", "show", c.name); c.reason == "" || !strings.Contains(out, c.reason) {
					o.t.Errorf("it ended, and its user reads\n%s\nwant the reason %q", out, c.reason)
				}
			} else {
				// Thousands of processes end with the CPU of one task.
				o.eventually(5*time.Minute, "its containers have ended", func() (bool, string) {
					left := o.containersOf(c.name)
					return len(left) == 0, fmt.Sprint(left)
				})
			}
			o.wantContainersOf("hold", before)
		})
	}
	if out, err := o.tryKubectl("get events -A --field-selector=reason=Evicted -o jsonpath='{.items[*].involvedObject.name}'"); err != nil || strings.Contains(out, "hold") {
		t.Errorf("got evicted pods %q, %v, want only those of culprits", out, err)
	}
}

// outputOverRotations reads the output of a task that the kubelet has rotated: all lines
// are there, also if the output is followed from a moment before a rotation.
func (o *operator) outputOverRotations() {
	const rounds, lines = 3, 100000 // 11 MB in each round, which is more than a file
	pad := strings.Repeat(".", 100)
	o.hostile("rotated", 128, fmt.Sprintf("for k in 1 2 3; do seq 1 %d | sed s/^/%s-/; sleep 15; done; echo all; sleep 600", lines, pad))
	o.eventually(3*time.Minute, "the task has written all", func() (bool, string) {
		out, err := o.trySoon("job", "logs", "rotated", "--tail", "1")
		return err == nil && out == "all\n", fmt.Sprint(out, err)
	})
	if files := o.on("pai-1", "ls /var/log/pods/pai-vc-default_*/task | grep -c '^0.log.'"); strings.TrimSpace(files) == "0" {
		o.t.Error("the kubelet rotated nothing, so this shows nothing")
	}
	check := func(out string) {
		o.t.Helper()
		if n := strings.Count(out, "\n"); n != rounds*lines+1 || !strings.HasPrefix(out, pad+"-1\n") || strings.Count(out, pad+"-50000\n") != rounds {
			o.t.Errorf("got %d lines that begin with %.120q, want %d", n, out, rounds*lines+1)
		}
	}
	check(o.run(3*time.Minute, "job", "logs", "rotated"))
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	out, _ := o.try(ctx, nil, "job", "logs", "-f", "rotated") // ends with the context
	check(out)
	o.stopJob("rotated")
}

// hostile submits a job of one task, with half a core.
func (o *operator) hostile(name string, memoryMB int, command string) {
	o.t.Helper()
	o.hostileWith(name, 0.5, memoryMB, command)
}

func (o *operator) hostileWith(name string, cpu float64, memoryMB int, command string) {
	o.t.Helper()
	o.submitRole(oneRole{name, "test/root:v1", 1, cpu, memoryMB, command})
}

// answersFor asks the machine for its name over ssh, and the API server whether it is
// ready, again and again: each answer takes at most two seconds.
func (o *operator) answersFor(long time.Duration) {
	o.t.Helper()
	const limit = 2 * time.Second
	slowest := time.Duration(0)
	for end := time.Now().Add(long); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
		start := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 10*limit)
		out, err := o.try(ctx, nil, "machine", "shell", "pai-1", "--",
			"curl -sk -m 2 -o /dev/null -w '%{http_code}' https://127.0.0.1:6443/readyz")
		cancel()
		took := time.Since(start)
		slowest = max(slowest, took)
		if err != nil || !strings.Contains(out, "200") || took > limit {
			o.t.Errorf("the machine answered %q after %s, %v, want 200 within %s", out, took, err, limit)
		}
	}
	o.t.Logf("the slowest answer took %s", slowest)
}
