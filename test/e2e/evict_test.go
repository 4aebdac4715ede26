//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// placeMoved starts the job moved on pai-2, whose kubelet cannot be replaced in
// place from now on, so that the job blocks the upgrade there.
func (o *operator) placeMoved() {
	t := o.t
	o.spoilGate("pai-2")
	o.kubectl("cordon pai-1")
	o.submit("test/e2e/testdata/moved.yaml", 1)
	o.kubectl("uncordon pai-1")
	if there := o.containersOf("moved"); len(there) != 1 || there[0].Machine != "pai-2" {
		t.Fatalf("the job is not where this test needs it: %+v", there)
	}
}

// wasMoved wants that the upgrade of pai-2 has ended the job moved there, said
// so, and that it runs again on pai-1: its task may never fail, and did not.
// Then it stops the job, so that pai-1 waits for another one alone.
func (o *operator) wasMoved(op operation, before []container) {
	t := o.t
	if len(before) != 1 {
		t.Fatalf("the job did not run: %+v", before)
	}
	if !slices.Equal(op.AcceptedRisks, []string{"evict-jobs:pai-2"}) {
		t.Errorf("the record says that %q were accepted", op.AcceptedRisks)
	}
	if op.Jobs.Before != 2 || op.Jobs.After != 1 || len(op.Jobs.Interrupted) != 1 {
		t.Errorf("recorded of jobs: %+v", op.Jobs)
	}
	for _, i := range op.Jobs.Interrupted {
		if !strings.HasSuffix(i.Job, "~moved") || i.Pod != before[0].Pod || i.Container != before[0].Container || i.Machine != "pai-2" ||
			!strings.Contains(i.Step, "machine/pai-2/kubelet") || !strings.Contains(i.Cause, "Eviction") {
			t.Errorf("the job's container %+v was to be ended for pai-2's kubelet; recorded is %+v", before[0], i)
		}
	}
	o.eventually(time.Minute, "the job that was ended on pai-2 runs again on pai-1", func() (bool, string) {
		now := o.containersOf("moved")
		return len(now) == 1 && now[0].Machine == "pai-1" && now[0].UID != before[0].UID, fmt.Sprintf("%+v\n%s", now, o.kubectl("get pods -A -l pai.dev/job -o wide"))
	})
	var job struct {
		State     string
		TaskRoles []struct{ Tasks []struct{ Retries int } }
	}
	o.json(&job, "job", "show", "moved")
	if job.State != "RUNNING" || len(job.TaskRoles) != 1 || len(job.TaskRoles[0].Tasks) != 1 || job.TaskRoles[0].Tasks[0].Retries != 0 {
		t.Errorf("the job that was ended on pai-2 is %+v; want it running, with no failure counted", job)
	}
	o.run(time.Minute, "job", "stop", "moved")
	o.eventually(time.Minute, "the job that was moved has ended", func() (bool, string) {
		left := o.containersOf("moved")
		return len(left) == 0, fmt.Sprint(left)
	})
}

// abandon abandons the upgrade while pai-1 waits for hold, and applies it again.
func (o *operator) abandon(before []container) {
	t := o.t
	given := o.upgradeStatus()
	o.run(2*time.Minute, "upgrade", "abandon", "--yes")
	o.wantNodes("pai-1 " + olderUpstream + "  \npai-2 " + newerUpstream + " true ")
	o.wantContainersOf("hold", before)
	st := o.upgradeStatus()
	if st.State != "abandoned" || st.Abandoned == nil || st.Abandoned.Operation == "" || !slices.Equal(st.Left, given.Left) || len(st.Done) != len(given.Done) ||
		len(st.Waiting) != 0 || len(st.Cordoned) != 1 || st.Cordoned[0].Machine != "pai-2" || st.Cordoned[0].By != "an operator" || st.Next != "" {
		t.Errorf("got status %+v of an upgrade with status %+v before", st, given)
	}
	if out := o.run(time.Minute, "upgrade", "resume"); !strings.Contains(out, "nothing to resume") {
		t.Errorf("resuming an abandoned upgrade says: %s", out)
	}
	op := o.leavesWaiting(before, "upgrade", "apply", "--to", newer, "--yes")
	if op.Jobs.Before != 1 || op.Jobs.After != 1 || len(op.Jobs.Interrupted) != 0 || len(op.AcceptedRisks) != 0 {
		t.Errorf("recorded of jobs: %+v, accepted %q", op.Jobs, op.AcceptedRisks)
	}
	o.wantWaiting()
}

// cleanEvicted removes Kubernetes from machines whose jobs the operator allows
// to be evicted: that is no interruption to stop at, and only the named risk
// counts as accepted.
func (o *operator) cleanEvicted() {
	t := o.t
	o.submit("test/e2e/testdata/evicted.yaml", 2)
	before := o.containersOf("evicted")
	busy := before[0].Machine // pai-2 is cordoned, so both tasks are here
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if _, err := o.try(ctx, nil, "cluster", "k8s-clean", "--accept-risk=interrupt-jobs", "--yes"); exitCode(err) != 3 || !strings.Contains(err.Error(), "evict-jobs:"+busy) {
		t.Errorf("exit code %d, want 3 and the risk's name: %v", exitCode(err), err)
	}
	o.wantContainersOf("evicted", before)
	o.run(5*time.Minute, "cluster", "k8s-clean", "--accept-risk=evict-jobs:"+busy, "--yes")
	var op operation // the history is of upgrades
	if err := json.Unmarshal([]byte(o.on("pai-1", `cat "$(grep -l '"verb": "k8s-clean"' /var/lib/pai/operations/*.json | tail -n 1)"`)), &op); err != nil {
		t.Fatal(err)
	}
	if op.Outcome != "succeeded" || !slices.Equal(op.AcceptedRisks, []string{"evict-jobs:" + busy}) || op.Jobs.Before != 1 || op.Jobs.After != 0 {
		t.Errorf("recorded: %+v", op)
	}
}
