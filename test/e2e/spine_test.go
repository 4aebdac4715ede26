//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestUpgradeUnderARunningJob is the product in one test: a cluster of release
// v0.9 with a job on it becomes v0.10, and the job's containers are the same.
func TestUpgradeUnderARunningJob(t *testing.T) {
	o := newOperator(t, "upgrade")
	o.buildBundle("v0.9", "v0.10")
	o.run(10*time.Minute, "up", "--release", "v0.9", "--yes")

	t.Run("boot again changes nothing", func(t *testing.T) {
		out := o.run(2*time.Minute, "cluster", "k8s-bootup", "--dry-run", "-o", "json")
		var p struct{ Steps []any }
		if err := json.Unmarshal([]byte(out), &p); err != nil || len(p.Steps) != 0 {
			t.Fatalf("planning a boot of what runs gives steps (error %v):\n%s", err, out)
		}
	})

	o.startDevicePlugin("pai-1", "2")
	o.submit("examples/train.yaml", 2)
	o.submit("test/e2e/testdata/device.yaml", 3)
	before, devices := o.jobContainers(), o.deviceHolders("pai-1")
	if len(devices) != 1 {
		t.Fatalf("one pod should hold a device: %v", devices)
	}

	t.Run("clean refuses while jobs run", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_, err := o.try(ctx, nil, "cluster", "k8s-clean", "--yes")
		if code := exitCode(err); code != 3 {
			t.Fatalf("exit code %d, want 3: %v", code, err)
		}
		if now := o.jobContainers(); !reflect.DeepEqual(before, now) {
			t.Fatalf("containers changed: %v, were %v", now, before)
		}
	})

	t.Run("the plan names the jobs", func(t *testing.T) {
		out := o.run(2*time.Minute, "upgrade", "plan", "--to", "v0.10")
		for _, want := range []string{"schema-2", "v0.9-pai → v0.10-pai", "v0.9 → v0.10", "kubelet", "train"} {
			if !strings.Contains(out, want) {
				t.Errorf("the plan does not say %q:\n%s", want, out)
			}
		}
	})

	t.Run("checks find faults by name", o.checksFindFaults)

	asV09 := o.configuration("config")
	file := filepath.Join(t.TempDir(), "plan.json")
	t.Run("the plan shows what changes, and is kept", func(t *testing.T) {
		out := o.run(3*time.Minute, "upgrade", "plan", "--to", "v0.10", "--diff", "--save", file)
		for _, want := range []string{
			"program etcd", "~ version: v3.6.8 → v3.6.16", // a program of a machine
			"Deployment pai-system/rest-server (its pods are replaced)", "+ spec.template.spec.containers[rest-server].args[]: --users=entries",
		} {
			if !strings.Contains(out, want) {
				t.Errorf("the difference does not say %q:\n%s", want, out)
			}
		}
		if strings.Contains(out, "cannot be compared") {
			t.Errorf("something cannot be compared:\n%s", out)
		}
		if left := o.on("pai-1", "ls /opt/pai"); strings.Contains(left, "v0.10") {
			t.Errorf("planning brought something to the machine: %s", left)
		}
	})
	if keys := o.userKeys(); !slices.Equal(keys, []string{"users.json"}) {
		t.Errorf("v0.9 stores its users as %v", keys)
	}
	stream := o.run(10*time.Minute, "upgrade", "apply", "--plan", file, "--skip-check", "pod-owners", "--yes", "-o", "json")
	t.Run("the stream of events ends with the record", func(t *testing.T) { checkStream(t, stream) })
	if keys := o.userKeys(); len(keys) == 0 || slices.Contains(keys, "users.json") {
		t.Errorf("the users were not migrated: %v", keys)
	}
	t.Run("the configuration is of the new release's schema", func(t *testing.T) {
		if _, old := asV09["cluster-configuration.yaml"]; !old {
			t.Errorf("release v0.9 had %v", asV09)
		}
		if now := o.configuration("config"); len(now) != 3 || !strings.Contains(now["layout.yaml"], "schema-version: 2") {
			t.Errorf("it is %v", now)
		}
		if kept := o.configuration("config.former-1"); !reflect.DeepEqual(kept, asV09) {
			t.Errorf("kept are %v, were %v", kept, asV09)
		}
		o.run(time.Minute, "config", "check")
	})
	if after := o.jobContainers(); !reflect.DeepEqual(before, after) {
		t.Errorf("the job's containers are not the same:\nbefore %+v\nafter  %+v", before, after)
	}
	op := o.lastOperation()
	if op.Outcome != "succeeded" || op.Jobs.Before != 2 || op.Jobs.After != 2 || op.Jobs.Interrupted == nil || len(op.Jobs.Interrupted) != 0 {
		t.Errorf("report: %+v", op)
	}
	if !slices.Equal(op.SkippedChecks, []string{"pod-owners"}) {
		t.Errorf("the record says that %q were skipped", op.SkippedChecks)
	}
	if op.From.Kubernetes != "v0.9-pai" || op.To.Kubernetes != "v0.10-pai" || op.From.Services != "v0.9" || op.To.Services != "v0.10" {
		t.Errorf("from %v to %v", op.From, op.To)
	}
	if n := o.runningJobs(); n != 2 {
		t.Errorf("%d jobs run, want 2", n)
	}
	t.Run("a job holds its device through the kubelet's swap", o.devicesAreKept("pai-1", devices))
	if v := o.kubectl("version -o json"); !strings.Contains(v, `"gitVersion": "v1.36.3"`) {
		t.Errorf("the API server is not v1.36.3: %s", v)
	}
	t.Logf("API away: %.2f s for new connections (longest %.2f s), %.2f s for kept ones (longest %.2f s)",
		op.API.OutageSeconds, op.API.LongestGapSeconds, op.API.Kept.OutageSeconds, op.API.Kept.LongestGapSeconds)

	if end, err := o.chaosCluster().TakeState(context.Background(), 1); err != nil {
		t.Error(err)
	} else {
		undisturbed = end
	}

	t.Run("the configuration is shared and remembered", o.sharing)

	t.Run("the saved plan is not done twice", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		_, err := o.try(ctx, nil, "upgrade", "apply", "--plan", file, "--yes")
		if code := exitCode(err); code != 3 {
			t.Fatalf("exit code %d, want 3: %v", code, err)
		}
		for _, want := range []string{"Kubernetes was v0.9-pai and is v0.10-pai", "machine pai-1: kubelet was v0.9-pai and is v0.10-pai",
			"steps are no longer needed", "nothing was done"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("it does not say that %q: %v", want, err)
			}
		}
	})

	t.Run("a second apply has nothing to do", func(t *testing.T) {
		o.run(2*time.Minute, "upgrade", "apply", "--to", "v0.10", "--yes")
		if again := o.lastOperation(); again.ID != op.ID {
			t.Errorf("an operation was recorded although nothing was done: %+v", again)
		}
	})

	t.Run("the job's log goes on", func(t *testing.T) {
		first := lines(o.run(time.Minute, "job", "logs", "train"))
		o.eventually(30*time.Second, "the log grows", func() (bool, string) {
			now := lines(o.run(time.Minute, "job", "logs", "train"))
			return now > first, "no new line"
		})
	})

	t.Run("going back", o.goingBack)

	t.Run("a stopped job ends and stays on record", func(t *testing.T) {
		o.run(time.Minute, "job", "stop", "device")
		o.run(time.Minute, "job", "stop", "train")
		o.eventually(time.Minute, "the job is stopped", func() (bool, string) {
			out := o.run(time.Minute, "job", "show", "train", "-o", "json")
			return strings.Contains(out, `"STOPPED"`), out
		})
	})

	t.Run("clean and boot bring the same cluster back", func(t *testing.T) {
		uid := o.kubectl("get namespace kube-system -o jsonpath={.metadata.uid}")
		o.run(5*time.Minute, "cluster", "k8s-clean", "--yes")
		o.run(5*time.Minute, "cluster", "k8s-bootup", "--yes")
		if now := o.kubectl("get namespace kube-system -o jsonpath={.metadata.uid}"); now != uid {
			t.Errorf("another cluster came back: %s, was %s", now, uid)
		}
	})

	t.Run("the guide", o.guide)
}

// checkStream reads what an operation prints with -o json as a program would.
func checkStream(t *testing.T, out string) {
	seen := map[string]int{}
	var last struct {
		Kind      string
		Operation operation
	}
	for line := range strings.Lines(out) {
		last.Kind, last.Operation = "", operation{}
		if err := json.Unmarshal([]byte(line), &last); err != nil || last.Kind == "" {
			t.Fatalf("a line is no event (%v): %s", err, line)
		}
		seen[last.Kind]++
	}
	if seen["plan"] != 1 || seen["operation"] != 1 || seen["step-started"] == 0 || seen["step-started"] != seen["step-ended"] || seen["watching"] == 0 {
		t.Errorf("events: %v", seen)
	}
	if last.Kind != "operation" || last.Operation.Outcome != "succeeded" {
		t.Errorf("the last line is %+v", last)
	}
}

func lines(s string) int { return strings.Count(s, "\n") }

func exitCode(err error) int {
	for err != nil {
		if e, ok := err.(*exec.ExitError); ok {
			return e.ExitCode()
		}
		u, ok := err.(interface{ Unwrap() error })
		if !ok {
			return -1
		}
		err = u.Unwrap()
	}
	return 0
}

// TestTwoMachines boots a control plane and a worker, and shows that pods of
// both reach each other and a service, also after both machines were
// restarted. Then it upgrades them with a job across both, and ends one of its
// containers by hand: the witness must name it and the step. Going on, of two
// machines that are busy and cannot be changed in place one is upgraded because
// the operator gives its job up, and the other waits until its job ends; in
// between the upgrade is given up and taken up again.
func TestTwoMachines(t *testing.T) {
	o := newOperator(t, "two")
	o.buildBundle("v0.9", "v0.10")
	o.run(10*time.Minute, "up", "--release", "v0.9", "--machines", "2", "--yes")

	manifest, err := os.ReadFile("testdata/network.yaml")
	if err != nil {
		t.Fatal(err)
	}
	o.apply(string(manifest))
	o.checkNetwork()
	for _, m := range []string{"pai-2", "pai-1"} {
		o.run(2*time.Minute, "machine", "restart", m)
	}
	o.checkNetwork()
	o.kubectl("delete namespace network-test --wait=false")

	o.eventually(3*time.Minute, "services are ready after the restart", func() (bool, string) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		out, err := o.try(ctx, nil, "service", "status")
		return err == nil, out
	})
	o.placeMoved(t)
	o.kubectl("cordon pai-2") // as an operator would; nobody takes it back
	o.spoilGate("pai-1")
	o.submit("examples/train.yaml", 3) // with moved
	t.Run("what is staged is not copied again", o.stages)
	t.Run("a container ended by hand is named with its step", o.killDuringUpgrade)
	t.Run("a busy machine waits for its job", o.idleUpgrade)
	t.Run("jobs that were given up are ended by a clean", o.cleanGivenUp)
}

// killDuringUpgrade starts an upgrade, ends one container of the job while a
// step of it runs, and wants the report to say so.
func (o *operator) killDuringUpgrade(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	victim := o.containersOf("train")[0]
	cmd := o.command(ctx, "upgrade", "apply", "--to", "v0.10", "--yes")
	var stderr, stdout bytes.Buffer
	cmd.Stderr, cmd.Stdout = &stderr, &stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()

	id := strings.TrimPrefix(victim.ID, "containerd://")
	o.eventually(2*time.Minute, "the operation is under way", func() (bool, string) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		out, err := o.try(ctx, nil, "machine", "shell", "pai-1", "--", "cat /var/lib/pai/operations/*.json 2>/dev/null || true")
		return err == nil && strings.Contains(out, `"verb": "upgrade"`), out
	})
	time.Sleep(2 * time.Second) // so that it happens within a step and not between the baseline and the first
	for _, m := range []string{"pai-1", "pai-2"} {
		o.on(m, "/opt/pai/role/containerd/bin/ctr -n k8s.io task kill -s SIGKILL "+id+" 2>/dev/null || true")
	}
	err := <-done
	if code := exitCode(err); code != 1 {
		t.Errorf("exit code %d, want 1\n%s", code, stderr.String())
	}
	op := o.lastOperation()
	if op.Outcome != "stopped" && op.Outcome != "failed" {
		t.Errorf("outcome %q although a job was interrupted", op.Outcome)
	}
	var named bool
	for _, i := range op.Jobs.Interrupted {
		if i.Pod == victim.Pod && i.Container == victim.Container && i.Step != "" && strings.Contains(i.Job, "train") {
			named = true
		}
	}
	if !named {
		t.Errorf("the ended container %+v is not named: %+v\n%s", victim, op.Jobs.Interrupted, stderr.String())
	}
}

func (o *operator) apply(manifest string) {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := o.try(ctx, strings.NewReader(manifest), "machine", "shell", "pai-1", "--",
		"KUBECONFIG=/etc/kubernetes/admin.conf /opt/pai/role/kubelet/bin/kubectl apply -f -")
	if err != nil {
		o.t.Fatalf("%v\n%s", err, out)
	}
}

// checkNetwork has a pod on each machine ask the pods of both, by address and
// by the service's name. Everything is read anew at each try: after a restart
// the API shows the pods as they were until the kubelets have reported.
func (o *operator) checkNetwork() {
	o.t.Helper()
	o.eventually(3*time.Minute, "pods of both machines reach each other and the service", func() (bool, string) {
		list, err := o.tryKubectl("-n network-test get pods -o jsonpath='{range .items[*]}{.metadata.name} {.status.podIP}{\"\\n\"}{end}'")
		if err != nil {
			return false, err.Error()
		}
		fields := strings.Fields(list)
		if len(fields) != 4 {
			return false, "two pods with an address each are wanted: " + list
		}
		targets := []string{fields[1], fields[3], "echo.network-test.svc.cluster.local"}
		for _, pod := range []string{fields[0], fields[2]} {
			for _, target := range targets {
				out, err := o.tryKubectl("-n network-test exec " + pod + " -- sh -c 'echo hello | nc -w 3 " + target + " 8080'")
				if err != nil || !strings.Contains(out, "hello from") {
					return false, fmt.Sprintf("%s asks %s: %q, %v", pod, target, out, err)
				}
			}
		}
		return true, ""
	})
}

func (o *operator) tryKubectl(args string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return o.try(ctx, nil, "machine", "shell", "pai-1", "--",
		"KUBECONFIG=/etc/kubernetes/admin.conf /opt/pai/role/kubelet/bin/kubectl "+args)
}
