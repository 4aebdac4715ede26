//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
	"time"
)

// TestTwoMachines boots a control plane and a worker, and shows that pods of
// both reach each other and a service, also after both machines were
// restarted. What the configuration does not name is shown. Then it upgrades them with a
// job across both, and ends one of its containers by hand: the witness must name it and
// the step. Of two machines that
// are busy and cannot be changed in place, one is upgraded because the operator
// accepts that its job is evicted, and the other waits until its job ends. In
// between, the upgrade is abandoned and applied again.
func TestTwoMachines(t *testing.T) {
	o := newOperator(t, "two")
	o.bootFrozen(older, "--machines", "2")

	manifest, err := os.ReadFile("testdata/network.yaml")
	if err != nil {
		t.Fatal(err)
	}
	o.apply(string(manifest))
	o.checkNetwork()
	began := map[string]time.Time{}
	for _, m := range []string{"pai-2", "pai-1"} {
		began[m] = time.Now()
		o.run(2*time.Minute, "machine", "restart", m)
	}
	for m, at := range began {
		o.reportedReady(m, at)
	}
	o.checkNetwork()
	o.kubectl("delete namespace network-test --wait=false")

	o.eventually(3*time.Minute, "services are ready after the restart", func() (bool, string) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		out, err := o.try(ctx, nil, "service", "status")
		return err == nil, out
	})
	o.part("what the configuration does not name is shown and found", (*operator).strangersAreShown)
	o.placeMoved()
	o.kubectl("cordon pai-2") // as an operator would; PAI must not undo it
	o.spoilGate("pai-1")
	o.submit("examples/train.yaml", 3) // with moved
	o.part("what is staged is not copied again", (*operator).stages)
	o.part("a container ended by hand is named with its step", (*operator).killDuringUpgrade)
	o.part("a busy machine waits for its job", (*operator).idleUpgrade)
	o.part("a clean ends jobs whose eviction was accepted", (*operator).cleanEvicted)
}

// reportedReady waits until the kubelet of a machine that was restarted at since has
// reported the node ready: neither a state from before the restart nor the "not ready" of
// a kubelet that just started is the one that the node stays in.
func (o *operator) reportedReady(machine string, since time.Time) {
	o.t.Helper()
	o.eventually(2*time.Minute, machine+" reports that it is ready", func() (bool, string) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		out, err := o.try(ctx, nil, "machine", "shell", "pai-1", "--", kubectl+"get node "+machine+
			` -o 'jsonpath={range .status.conditions[?(@.type=="Ready")]}{.status} {.lastHeartbeatTime}{end}'`)
		if err != nil {
			return false, out + err.Error()
		}
		status, at, _ := strings.Cut(strings.TrimSpace(out), " ")
		heard, err := time.Parse(time.RFC3339, at)
		return err == nil && status == "True" && heard.After(since), out
	})
}

// upgradeHasStarted waits for the first upgrade of a cluster, and until one of its steps
// is in progress: what happens then happens after its baseline.
func (o *operator) upgradeHasStarted() {
	o.t.Helper()
	o.eventually(2*time.Minute, "the operation has started", func() (bool, string) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		out, err := o.try(ctx, nil, "machine", "shell", "pai-1", "--", "cat /var/lib/pai/operations/*.json 2>/dev/null || true")
		return err == nil && strings.Contains(out, `"verb": "upgrade"`), out
	})
	time.Sleep(2 * time.Second) // the baseline comes before the first step
}

// killDuringUpgrade starts an upgrade, ends one container of the job while a
// step of it runs, and wants the report to name it.
func (o *operator) killDuringUpgrade() {
	t := o.t
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	victim := o.containersOf("train")[0]
	cmd := o.command(ctx, "upgrade", "apply", "--to", newer, "--yes")
	var stderr, stdout bytes.Buffer
	cmd.Stderr, cmd.Stdout = &stderr, &stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()

	id := strings.TrimPrefix(victim.ID, "containerd://")
	o.upgradeHasStarted()
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
