//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"
)

// TestRemoveMachine removes two workers of a cluster. While a job runs on the first one, the
// removal waits with exit code 5 and does not touch the job. Then it is killed after each step
// that it shows, and the same command finishes it: nothing that PAI made is left on the machine
// or names it, and a mounted disk keeps its file. The second worker is dead: it is removed with
// its name, and its job starts again elsewhere. When it starts again, its node is found and
// removed as well.
func TestRemoveMachine(t *testing.T) {
	inTestAll(t, "several minutes on another cluster")
	o := newOperator(t, "remove")
	o.bootFrozen(older, "--machines", "3")
	o.kubectl("cordon pai-1 pai-3")
	o.submit("test/e2e/testdata/hold.yaml", 2)
	o.kubectl("uncordon pai-1 pai-3")

	o.part("the control-plane machine is refused", func(o *operator) {
		if err := o.refused(3, "machine", "remove", "pai-1", "--yes"); !strings.Contains(err.Error(), "control-plane machine") {
			o.t.Errorf("the refusal does not say why: %v", err)
		}
	})
	o.part("a removal waits for the job", (*operator).removalWaits)
	o.run(time.Minute, "job", "stop", "hold")
	o.part("a removal that is killed ends with the same command", (*operator).removalIsKilled)
	o.part("nothing of the machine is left", (*operator).machineIsRemoved)
	o.part("a dead machine is removed by its name", (*operator).deadMachineIsRemoved)
	o.part("a removed machine that starts again is found", (*operator).removedMachineReturns)
}

func (o *operator) removalWaits() {
	t := o.t
	before := o.containersOf("hold")
	if err := o.refused(5, "machine", "remove", "pai-2", "--yes"); !strings.Contains(err.Error(), "~hold") || !strings.Contains(err.Error(), "machine return pai-2") {
		t.Errorf("it names neither the job nor how to cancel: %v", err)
	}
	o.wantContainersOf("hold", before)
	if o.schedulable("pai-2") {
		t.Error("a machine that waits for its jobs takes new ones")
	}
	o.layoutWithout("pai-2") // fails if the layout does not have it
	o.run(2*time.Minute, "machine", "return", "pai-2", "--yes")
	o.wantContainersOf("hold", before)
}

// removalIsKilled kills the command at the end of each step that it does, until one ends by
// itself.
func (o *operator) removalIsKilled() {
	o.on("pai-2", "mkdir -p /mnt/keep && mount -t tmpfs keep /mnt/keep && touch /mnt/keep/file")
	o.killedAfterEachStep(5, "machine", "remove", "pai-2")
}

func (o *operator) machineIsRemoved() {
	t := o.t
	if out := o.kubectl("get nodes -o name"); strings.Contains(out, "pai-2") {
		t.Errorf("the node is left: %s", out)
	}
	if out := o.kubectl(`get csr -o jsonpath='{.items[*].spec.username}'`); strings.Contains(out, "system:node:pai-2") {
		t.Errorf("certificate requests are left: %s", out)
	}
	// Local machines have the names of all in other lines of the file.
	if out := o.on("pai-1", "grep '# pai$' /etc/hosts; cat /etc/pai/certificates.json /var/lib/pai/maintenance.json 2>/dev/null || true"); strings.Contains(out, "pai-2") {
		t.Errorf("the control-plane machine names it:\n%s", out)
	}
	if out := o.on("pai-3", "grep '# pai$' /etc/hosts"); !strings.Contains(out, "pai-3") || strings.Contains(out, "pai-2") {
		t.Errorf("the other worker names it:\n%s", out)
	}
	left := o.on("pai-2", "ls -d /opt/pai/v* /opt/pai/role /etc/pai /var/lib/kubelet/pki /etc/systemd/system/pai-* 2>/dev/null | grep -v pai-local-; pgrep -x kubelet; grep '# pai$' /etc/hosts || true")
	if strings.TrimSpace(left) != "" {
		t.Errorf("this is left on the machine:\n%s", left)
	}
	o.on("pai-2", "test -e /mnt/keep/file")
	if u := o.unconfigured(); len(u.Nodes)+len(u.Machines) > 0 {
		t.Errorf("not in the configuration: %+v", u)
	}
	if found := o.strangersFound(); len(found) > 0 {
		t.Errorf("the checks find %q", found)
	}
	if out := o.run(time.Minute, "config", "history"); !strings.Contains(out, "machine-remove pai-2") {
		t.Errorf("no revision of the removal:\n%s", out)
	}
	var status struct{ Configuration struct{ Pending []string } }
	o.json(&status, "cluster", "status")
	if len(status.Configuration.Pending) > 0 {
		t.Errorf("pending after the removal: %v", status.Configuration.Pending)
	}
	if err := o.refused(1, "machine", "remove", "pai-2", "--yes"); !strings.Contains(err.Error(), "nothing is left to do") {
		t.Errorf("the second removal says: %v", err)
	}
	o.run(5*time.Minute, "cluster", "k8s-bootup", "--yes")
}

func (o *operator) deadMachineIsRemoved() {
	t := o.t
	o.kubectl("cordon pai-1")
	o.submit("examples/train.yaml", 2)
	o.kubectl("uncordon pai-1")
	o.run(time.Minute, "machine", "kill", "pai-3")
	if err := o.refused(3, "machine", "remove", "pai-3", "--yes"); !strings.Contains(err.Error(), "--accept-risk=lose-machine:pai-3") {
		t.Errorf("the refusal does not name the risk: %v", err)
	}
	if out := o.run(10*time.Minute, "machine", "remove", "pai-3", "--yes", "--accept-risk=lose-machine:pai-3"); !strings.Contains(out, "what ran on pai-3") {
		t.Errorf("the report does not say what is left on the machine:\n%s", out)
	}
	if out := o.kubectl("get nodes -o name"); strings.TrimSpace(out) != "node/pai-1" {
		t.Errorf("got the nodes %s", out)
	}
	o.eventually(5*time.Minute, "the job runs on the machine that stays", func() (bool, string) {
		there := o.containersOf("train")
		return len(there) == 2 && there[0].Machine == "pai-1" && there[1].Machine == "pai-1", o.kubectl("get pods -A -o wide")
	})
}

// removedMachineReturns starts a machine that was removed while it was dead. Its kubelet joins
// again, which the checks find, and its node is removed with the same command.
func (o *operator) removedMachineReturns() {
	t := o.t
	o.run(3*time.Minute, "machine", "up", "--count", "3")
	o.eventually(5*time.Minute, "its node is back", func() (bool, string) {
		out, err := o.tryKubectl("get nodes -o name")
		return err == nil && strings.Contains(out, "pai-3"), out
	})
	if found := strings.Join(o.strangersFound(), "; "); !strings.Contains(found, "node-unconfigured pai-3") {
		t.Errorf("the checks find %q", found)
	}
	o.on("pai-3", "systemctl disable --now pai-kubelet")
	if err := o.refused(3, "machine", "remove", "pai-3", "--yes"); !strings.Contains(err.Error(), "lose-machine:pai-3") {
		t.Errorf("the refusal does not name the risk: %v", err)
	}
	o.run(5*time.Minute, "machine", "remove", "pai-3", "--yes", "--accept-risk=lose-machine:pai-3")
	if u := o.unconfigured(); len(u.Nodes) > 0 {
		t.Errorf("not in the configuration: %+v", u)
	}
}
