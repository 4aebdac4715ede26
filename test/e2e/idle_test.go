//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
)

// upgradeStatus is `paictl upgrade status -o json`, as the documentation gives it.
type upgradeStatus struct {
	State      string
	Lock       *struct{ Health string }
	Done, Left []string
	Waiting    []struct {
		Machine string
		Jobs    []struct{ Name string }
		Ready   bool
	}
	Cordoned  []struct{ Machine, By, Operation string }
	Abandoned *struct{ Operation string }
	APIError  string
	Next      string
}

func (o *operator) upgradeStatus() upgradeStatus {
	o.t.Helper()
	var st upgradeStatus
	o.json(&st, "upgrade", "status")
	return st
}

// spoilGate has the kubelet of a machine reserve other than PAI would have it:
// what a new one would admit there is not what the old one admitted.
func (o *operator) spoilGate(machine string) {
	o.t.Helper()
	o.on(machine, `f=/opt/pai/role/kubelet/etc/kubelet.yaml; f=$(readlink -f $f); sed -i '/^maxPods:/d' $f; echo 'maxPods: 100' >>$f; systemctl restart pai-kubelet`)
	o.eventually(time.Minute, "the kubelet runs with what was changed", func() (bool, string) {
		out, err := o.tryKubectl("get node " + machine + " -o jsonpath='{.status.allocatable.pods}'")
		return err == nil && out == "100", out
	})
}

// idleUpgrade resumes an upgrade that was stopped. An operator has cordoned
// pai-2, each machine has a job, and no kubelet can be replaced in place.
// Everything else is upgraded, the control plane on pai-1 included, and pai-2,
// whose job the operator allows to be evicted. The kubelet of pai-1 waits for
// its job, also while the upgrade is abandoned and applied again, and follows
// when the user has stopped the job.
func (o *operator) idleUpgrade() {
	t := o.t
	if st := o.upgradeStatus(); st.State != "unfinished" || st.Next != "paictl upgrade resume" || len(st.Left) == 0 {
		t.Errorf("status of an upgrade that was stopped: %+v", st)
	}
	o.eventually(time.Minute, "the job that lost a task has ended", func() (bool, string) {
		left := o.containersOf("train")
		return len(left) == 0, fmt.Sprint(left)
	})
	o.submit("test/e2e/testdata/hold.yaml", 3) // with moved, which runs
	before, moved := o.containersOf("hold"), o.containersOf("moved")
	op := o.leavesWaiting(before, "upgrade", "resume", "--accept-risk=evict-jobs:pai-2", "--yes")
	o.wasMoved(op, moved)
	o.wantWaiting()
	o.statusWithoutAPI()
	o.abandon(before)
	o.waitAndStop(before)
	o.wantNodes("pai-1 " + newerUpstream + "  \npai-2 " + newerUpstream + " true ")
	for _, m := range []string{"pai-1", "pai-2"} {
		(&runtimeStory{operator: o, machine: m}).wantRuntime(newerKubernetes)
	}
	if op := o.lastOperation(); op.Outcome != "succeeded" || len(op.Jobs.Interrupted) != 0 {
		t.Errorf("recorded: %+v", op)
	}
	if out := o.run(time.Minute, "upgrade", "resume"); !strings.Contains(out, "nothing to resume") {
		t.Errorf("resuming what is done says: %s", out)
	}
	if st := o.upgradeStatus(); st.State != "done" || st.Next != "" {
		t.Errorf("status: %+v", st)
	}
}

// statusWithoutAPI wants the status of the journal while the API server is stopped.
func (o *operator) statusWithoutAPI() {
	t := o.t
	unit := o.on("pai-1", "systemctl list-units --plain --no-legend --state=active 'pai-apiserver-*' | cut -d' ' -f1")
	o.on("pai-1", "systemctl stop "+unit)
	st := o.upgradeStatus()
	o.on("pai-1", "systemctl start "+unit)
	// The journal may know of moved as well: it ran on pai-1 for a while.
	if st.State != "waiting" || st.APIError == "" || len(st.Waiting) != 1 || !strings.Contains(fmt.Sprint(st.Waiting[0].Jobs), "{hold}") {
		t.Errorf("status without the API server: %+v", st)
	}
	o.eventually(time.Minute, "the API is back", func() (bool, string) {
		out, err := o.tryKubectl("get nodes")
		return err == nil, out
	})
}

// leavesWaiting runs a command that is to leave nothing but pai-1's kubelet as
// it was, because of the job hold, and to end with exit code 5.
func (o *operator) leavesWaiting(before []container, args ...string) operation {
	t := o.t
	if len(before) != 2 || before[0].Machine != "pai-1" || before[1].Machine != "pai-1" {
		t.Fatalf("the job is not where this test needs it: %+v", before)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	start := time.Now()
	out, err := o.try(ctx, nil, args...)
	if code := exitCode(err); code != 5 {
		t.Fatalf("exit code %d, want 5: %v\n%s", code, err, out)
	}
	t.Logf("paictl %s: %.1f s", strings.Join(args, " "), time.Since(start).Seconds())
	if said := out + err.Error(); !strings.Contains(said, "pai-1") || !strings.Contains(said, "~hold") {
		t.Errorf("the output does not say that pai-1 waits for hold:\n%s", said)
	}
	op := o.lastOperation()
	o.wantNodes("pai-1 " + olderUpstream + " true " + op.ID + "\npai-2 " + newerUpstream + " true ")
	if v := o.serverVersion(); v != newerUpstream {
		t.Errorf("the API server did not move although only a kubelet has to wait: %s", v)
	}
	if out := o.run(time.Minute, "service", "status"); strings.Contains(out, older) {
		t.Errorf("services did not move although only a kubelet has to wait:\n%s", out)
	}
	if op.Outcome != "waiting" {
		t.Errorf("recorded: %+v", op)
	}
	o.wantContainersOf("hold", before)
	return op
}

// wantWaiting wants the status to say that pai-1 waits for hold alone.
func (o *operator) wantWaiting() {
	t := o.t
	t.Helper()
	st := o.upgradeStatus()
	if st.State != "waiting" || st.Next != "paictl upgrade resume --wait" || len(st.Waiting) != 1 || st.Waiting[0].Machine != "pai-1" ||
		len(st.Waiting[0].Jobs) != 1 || st.Waiting[0].Jobs[0].Name != "hold" || len(st.Cordoned) != 2 ||
		st.Cordoned[0].By != "PAI" || st.Cordoned[1].By != "an operator" {
		t.Errorf("status: %+v", st)
	}
}

// waitAndStop has one paictl wait for the job, kills it, has another one wait,
// and then stops the job: the second one upgrades the machine.
func (o *operator) waitAndStop(before []container) {
	t := o.t
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	start := func() (*exec.Cmd, *lockedBuffer) {
		cmd, said := o.command(ctx, "upgrade", "resume", "--wait", "--wait-timeout", "4m", "--yes"), &lockedBuffer{}
		cmd.Stderr, cmd.Stdout = said, said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		o.eventually(3*time.Minute, "it waits for the job", func() (bool, string) {
			return strings.Contains(said.String(), "~hold (until"), said.String()
		})
		return cmd, said
	}
	cmd, _ := start()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // was killed
	cmd, said := start()
	o.wantContainersOf("hold", before)
	o.run(time.Minute, "job", "stop", "hold")
	if err := cmd.Wait(); err != nil {
		t.Fatalf("resume --wait: %v\n%s", err, said)
	}
}

// wantNodes compares name, kubelet, whether cordoned and PAI's mark of each node.
func (o *operator) wantNodes(want string) {
	t := o.t
	t.Helper()
	var list struct {
		Items []struct {
			Metadata struct {
				Name        string
				Annotations map[string]string
			}
			Spec   struct{ Unschedulable bool }
			Status struct {
				NodeInfo struct{ KubeletVersion string }
			}
		}
	}
	out := o.kubectl("get nodes -o json")
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var lines []string
	for _, n := range list.Items {
		cordoned := ""
		if n.Spec.Unschedulable {
			cordoned = "true"
		}
		lines = append(lines, strings.Join([]string{n.Metadata.Name, n.Status.NodeInfo.KubeletVersion, cordoned, n.Metadata.Annotations["pai.dev/cordoned-by"]}, " "))
	}
	slices.Sort(lines)
	if got := strings.Join(lines, "\n"); got != want {
		t.Errorf("nodes:\n%s\nwant:\n%s", got, want)
	}
}

// lockedBuffer is what a program has said so far.
type lockedBuffer struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.String()
}
