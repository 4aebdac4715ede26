//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestBorrowing lets a job of one virtual cluster use memory of another, whose job then waits
// until the first one ends. Nothing ends, starts again, or moves meanwhile, also not when
// the configuration changes.
func TestBorrowing(t *testing.T) {
	inTestAll(t, "three minutes or more on another cluster")
	o := newOperator(t, "borrowing")
	o.buildBundle(newer)
	o.run(10*time.Minute, "up", "--yes")
	o.editServices("virtual-clusters:\n  default: {}", `virtual-clusters:
  default: {}
  guests: {memory-mb: 100, borrow: true, weight: 2}
  owners: {memory-mb: 200, lend: true}`)
	o.run(10*time.Minute, "service", "refresh", "--yes")

	o.holdIn("guests", "guest", 2) // 128 MiB: it borrows 28
	o.eventually(2*time.Minute, "the job that borrows runs", func() (bool, string) {
		return len(o.containersOf("guest")) == 2, o.run(time.Minute, "job", "show", "guest")
	})
	guest := o.containersOf("guest")
	o.part("the lender waits and sees why", func(o *operator) {
		o.holdIn("owners", "owner", 3) // 192 MiB: 172 are free
		o.eventually(2*time.Minute, "vc show says why the job waits", func() (bool, string) {
			use := o.useOfMemory("owners")
			return len(use.Queue) == 1 && strings.Contains(use.Queue[0].Why, "jobs of other virtual clusters borrow 28 MiB of memory"), fmt.Sprintf("%+v", use)
		})
		if use := o.useOfMemory("owners"); use.Waiting != 1 || use.MineWaiting != 1 || use.Resources[1].Lent != 28 || *use.Resources[1].Free != 172 {
			o.t.Errorf("the lender has %+v", use)
		}
		if use := o.useOfMemory("guests"); use.Running != 1 || use.Resources[1].Used != 128 || use.Resources[1].Mine != 128 || use.Resources[1].Borrowed != 28 {
			o.t.Errorf("the borrower has %+v", use)
		}
		if text := o.run(time.Minute, "vc", "list"); !strings.Contains(text, "128 of 100") {
			o.t.Errorf("got\n%s", text)
		}
	})
	o.part("the configuration changes under the job that borrows", func(o *operator) {
		o.editServices("borrow: true, weight: 2", "borrow: true, borrow-memory-mb: 1")
		o.run(10*time.Minute, "service", "refresh", "--yes")
		o.wantContainersOf("guest", guest)
		if use := o.useOfMemory("guests"); use.Resources[1].Borrowed != 28 || *use.Resources[1].Free != 0 {
			o.t.Errorf("the borrower has %+v", use)
		}
		if n := len(o.containersOf("owner")); n != 0 {
			o.t.Errorf("the job of the lender has %d containers, want none", n)
		}
	})
	o.part("what is borrowed comes back when the job ends", func(o *operator) {
		o.wantContainersOf("guest", guest)
		o.stopJob("guest")
		o.eventually(2*time.Minute, "the job of the lender runs", func() (bool, string) {
			return len(o.containersOf("owner")) == 3, o.run(time.Minute, "job", "show", "owner")
		})
	})
	if out := o.kubectl("get workloads -A -o json"); strings.Contains(out, `"Preempted"`) {
		t.Errorf("Kueue preempted a job:\n%s", out)
	}
}

// virtualClusterUse is what `vc show -o json` prints; its second resource is memory.
type virtualClusterUse struct {
	Running, Waiting, MineWaiting int
	Resources                     []struct {
		Limit, Free                *float64
		Used, Mine, Borrowed, Lent float64
	}
	Queue []struct{ Why string }
}

func (o *operator) useOfMemory(vc string) (use virtualClusterUse) {
	o.t.Helper()
	o.json(&use, "vc", "show", vc)
	if len(use.Resources) != 3 || use.Resources[1].Limit == nil || use.Resources[1].Free == nil {
		o.t.Fatalf("virtual cluster %s has %+v", vc, use)
	}
	return use
}

// holdIn submits a job to a virtual cluster: tasks of 64 MiB that run until they are stopped.
func (o *operator) holdIn(vc, name string, tasks int) {
	o.t.Helper()
	o.submitRole(oneRole{name, "pai.local/example:v1", tasks, 0.1, 64, "trainer --interval 1s"}, "--vc", vc)
}
