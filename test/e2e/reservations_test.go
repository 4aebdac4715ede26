//go:build e2e

package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestReservationsWait upgrades a machine under a job. The upgrade is complete, the job is
// not touched, and the machine keeps what it reserves, which the plan names. When the job
// has ended, a boot sets the reservations of the newer release, once.
func TestReservationsWait(t *testing.T) {
	inTestAll(t, "three minutes or more on another cluster")
	o := newOperator(t, "reservations")
	o.bootFrozen(older)
	o.submit("test/e2e/testdata/hold.yaml", 2)
	before := o.containersOf("hold")
	const note = "jobs run on pai-1, so these machines keep"
	if out := o.run(2*time.Minute, "upgrade", "plan", "--to", newer); !strings.Contains(out, note) || strings.Contains(out, "pai-1/reservations") {
		t.Errorf("got the plan\n%s\nwant %q and no step of the reservations", out, note)
	}
	o.run(10*time.Minute, "upgrade", "apply", "--to", newer, "--yes")
	o.wantContainersOf("hold", before)
	if got := o.reserved(); got != "" {
		t.Errorf("got reservations %q of a busy machine, want none", got)
	}
	if got := o.bootSteps(); len(got) != 0 {
		t.Errorf("got steps %v for a busy machine, want none", got)
	}

	o.stopJob("hold")
	o.eventually(2*time.Minute, "the job has ended", func() (bool, string) {
		left := o.containersOf("hold")
		return len(left) == 0, ""
	})
	// What cordons the machine for the step uncordons it at the end of the operation.
	if got, want := o.bootSteps(), []string{"machine/pai-1/reservations"}; !slices.Equal(got, want) {
		t.Errorf("got steps %v for an idle machine, want %v", got, want)
	}
	o.run(5*time.Minute, "cluster", "k8s-bootup", "--yes")
	if got := o.reserved(); !strings.Contains(got, "kubeReserved") || !strings.Contains(got, "systemReserved") {
		t.Errorf("got reservations %q of an idle machine, want some", got)
	}
	if got := o.kubectl("get node pai-1 -o jsonpath={.spec.unschedulable}"); got != "" {
		t.Errorf("got unschedulable %q, want a machine that takes jobs", got)
	}
	if got := o.bootSteps(); len(got) != 0 {
		t.Errorf("got steps %v afterwards, want none", got)
	}
}

// reserved are the lines of the reservations in the configuration of the kubelet.
func (o *operator) reserved() string {
	o.t.Helper()
	return o.on("pai-1", "grep -i reserved /opt/pai/role/kubelet/etc/kubelet.yaml || :")
}

// bootSteps are the steps of a boot.
func (o *operator) bootSteps() []string {
	o.t.Helper()
	var p struct{ Steps []struct{ ID string } }
	o.json(&p, "cluster", "k8s-bootup", "--dry-run")
	var ids []string
	for _, step := range p.Steps {
		ids = append(ids, strings.TrimPrefix(step.ID, "kubernetes/"+newerKubernetes+"/"))
	}
	return ids
}
