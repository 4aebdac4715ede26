//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestReplaceControlPlane kills one of three control-plane machines and puts the worker with the running
// job in its place. Then another one is taken out of service and returns. No container of the job is
// touched, and the API answers all the time.
func TestReplaceControlPlane(t *testing.T) {
	inTestAll(t, "fifteen minutes on another cluster")
	o := newOperator(t, "replace")
	o.buildBundle(newer)
	o.run(20*time.Minute, "up", "--machines", "4", "--control-planes", "3", "--yes")
	o.onlyWorker()
	o.submit("test/e2e/testdata/hold.yaml", 2)
	o.kubectl("uncordon pai-1 pai-2 pai-3")
	before := o.containersOf("hold")

	o.part("a living machine is not replaced", func(o *operator) {
		if err := o.refused(3, "machine", "replace", "pai-2", "--with", "pai-4", "--accept-risk=lose-machine:pai-2", "--yes"); !strings.Contains(err.Error(), "pai-2 is not dead") {
			o.t.Errorf("the refusal does not say why: %v", err)
		}
	})
	o.run(time.Minute, "machine", "kill", "pai-2")
	o.part("its loss has to be accepted", func(o *operator) {
		if err := o.refused(3, "machine", "replace", "pai-2", "--with", "pai-4", "--yes"); !strings.Contains(err.Error(), "--accept-risk=lose-machine:pai-2") {
			o.t.Errorf("the refusal does not name the risk: %v", err)
		}
		if text := o.layoutText(); !strings.Contains(text, "pai-2") {
			o.t.Errorf("a refusal changed the layout:\n%s", text)
		}
	})
	o.part("the replacement is killed after each step", (*operator).replacementIsKilled)
	o.wantVoters("pai-1", "pai-3", "pai-4")
	o.wantOneLeader("pai-3")
	if out := o.kubectl("get nodes -o name"); strings.Contains(out, "pai-2") {
		o.t.Errorf("the node is left: %s", out)
	}
	o.wantContainersOf("hold", before)
	o.part("a machine is in maintenance", func(o *operator) { o.controlPlaneIsMaintained("pai-3", "pai-1") })
	o.wantContainersOf("hold", before)
	o.wantVoters("pai-1", "pai-3", "pai-4")
}

// replacementIsKilled kills the replacement after each of its steps, and then lets it end.
func (o *operator) replacementIsKilled() {
	o.killedAfterEachStep(5, "machine", "replace", "pai-2", "--with", "pai-4", "--accept-risk=lose-machine:pai-2")
}

// controlPlaneIsMaintained takes a control-plane machine out of service and brings it back. Meanwhile
// the worker has answers of the API, and no other machine can be taken out of service.
func (o *operator) controlPlaneIsMaintained(machine, other string) {
	answers := o.watchAPI("pai-4", 60*time.Second)
	o.run(5*time.Minute, "machine", "maintain", machine, "--yes")
	if gap := answers(); gap > 15*time.Second { // far above what is wanted: the machine has two processors
		o.t.Errorf("no answer of the API for %s", gap)
	}
	if out := o.on(machine, "pgrep -x etcd; pgrep -x kube-apiserver; pgrep -x kube-controller; pgrep -x kube-scheduler; true"); strings.TrimSpace(out) != "" {
		o.t.Errorf("the control plane of %s runs: %s", machine, out)
	}
	if err := o.refused(3, "machine", "maintain", other, "--yes"); !strings.Contains(err.Error(), machine+" is in maintenance") {
		o.t.Errorf("the refusal does not name the machine: %v", err)
	}
	o.run(5*time.Minute, "cluster", "k8s-bootup", "--yes")
	o.run(time.Minute, "machine", "restart", machine)
	o.eventually(3*time.Minute, machine+" answers again", func() (bool, string) {
		out, err := o.tryOn(machine, "true")
		return err == nil, fmt.Sprint(out, err)
	})
	o.run(10*time.Minute, "machine", "return", machine, "--yes")
	if !o.schedulable(machine) {
		o.t.Errorf("%s takes no jobs after its return", machine)
	}
}
