//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestMaintenance takes a worker out of a cluster and brings it back. While its job runs,
// the maintenance waits with exit code 5 and does not touch the job. The command is killed
// while it waits, and another one ends it. Then the machine is off: a boot, the services,
// and an upgrade pass without it, and do not uncordon it. Its return waits until it is on,
// brings it to the new version, and a job runs there again.
func TestMaintenance(t *testing.T) {
	inTestAll(t, "several minutes on another cluster")
	o := newOperator(t, "maintenance")
	o.bootFrozen(older, "--machines", "2")
	o.kubectl("cordon pai-1")
	o.submit("test/e2e/testdata/hold.yaml", 2)
	o.kubectl("uncordon pai-1")
	before := o.containersOf("hold")
	for _, c := range before {
		if c.Machine != "pai-2" {
			t.Fatalf("the job is not where this test needs it: %+v", before)
		}
	}

	// The next pods of CoreDNS are on both machines.
	o.kubectl("-n kube-system delete pod -l k8s-app=kube-dns")
	o.eventually(2*time.Minute, "CoreDNS runs on both machines", func() (bool, string) {
		on := o.dnsMachines()
		return on == "pai-1 pai-2", on
	})

	o.part("the control-plane machine is refused", func(o *operator) {
		if err := o.refused(3, "machine", "maintain", "pai-1", "--yes"); !strings.Contains(err.Error(), "no job starts") {
			o.t.Errorf("the refusal does not say what stops: %v", err)
		}
	})
	o.part("a maintenance waits for the job", func(o *operator) { o.maintenanceWaits(before) })
	o.part("a maintenance that was killed ends with the same command", func(o *operator) { o.maintenanceIsKilled(before) })
	o.part("CoreDNS is that of its release after a return", (*operator).dnsReturns)
	o.part("a cluster does without the machine", (*operator).machineIsOff)
	o.part("the machine returns at the version of the cluster", (*operator).machineReturns)
}

// maintenanceOf is what the cluster says of the maintenance of a machine.
func (o *operator) maintenanceOf(machine string) (since, by string) {
	o.t.Helper()
	type entry struct {
		Name        string
		Maintenance *struct{ Since, By string }
	}
	var st struct{ Machines []entry }
	var list []entry
	o.json(&st, "cluster", "status")
	o.json(&list, "machine", "list")
	find := func(entries []entry) (since, by string) {
		for _, m := range entries {
			if m.Name == machine && m.Maintenance != nil {
				return m.Maintenance.Since, m.Maintenance.By
			}
		}
		return "", ""
	}
	since, by = find(st.Machines)
	if s, b := find(list); s != since || b != by {
		o.t.Errorf("cluster status says %q by %q, machine list says %q by %q", since, by, s, b)
	}
	return since, by
}

// dnsMachines are the machines of the running pods of CoreDNS.
func (o *operator) dnsMachines() string {
	o.t.Helper()
	machines := strings.Fields(o.kubectl("-n kube-system get pods -l k8s-app=kube-dns --field-selector=status.phase=Running -o jsonpath='{.items[*].spec.nodeName}'"))
	slices.Sort(machines)
	return strings.Join(machines, " ")
}

// wantDNS wants CoreDNS to forward external names where the host of the machines has name
// servers, and to avoid machines in maintenance or not.
func (o *operator) wantDNS(when string, avoids bool) {
	o.t.Helper()
	forwards := strings.Contains(o.on("pai-1", "cat /etc/pai/resolv.conf"), "nameserver")
	if file := o.kubectl("-n kube-system get configmap coredns -o jsonpath={.data.Corefile}"); strings.Contains(file, "forward .") != forwards {
		o.t.Errorf("%s: want that CoreDNS forwards: %v, got %s", when, forwards, file)
	}
	affinity := o.kubectl("-n kube-system get deployment coredns -o jsonpath={.spec.template.spec.affinity}")
	if strings.Contains(affinity, "pai.dev/maintenance") != avoids {
		o.t.Errorf("%s: CoreDNS avoids machines in maintenance: %q, want %v", when, affinity, avoids)
	}
}

// schedulable reports whether jobs can start on a machine.
func (o *operator) schedulable(machine string) bool {
	o.t.Helper()
	return o.kubectl("get node "+machine+" -o jsonpath={.spec.unschedulable}") == ""
}

func (o *operator) maintenanceWaits(before []container) {
	t := o.t
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	out, err := o.try(ctx, nil, "machine", "maintain", "pai-2", "--yes")
	if code := exitCode(err); code != 5 || !strings.Contains(out+err.Error(), "~hold") {
		t.Errorf("exit code %d, want 5 with the job: %v\n%s", code, err, out)
	}
	o.wantContainersOf("hold", before)
	if since, _ := o.maintenanceOf("pai-2"); since != "" || o.schedulable("pai-2") {
		t.Errorf("in maintenance since %q, schedulable %v; want a cordon and no record", since, o.schedulable("pai-2"))
	}
	// A return cancels it.
	o.run(2*time.Minute, "machine", "return", "pai-2", "--yes")
	if !o.schedulable("pai-2") {
		t.Error("the machine is still cordoned after the maintenance was canceled")
	}
	o.wantDNS("after the maintenance was canceled", false)
	o.wantContainersOf("hold", before)
}

// maintenanceIsKilled kills a command that waits. Its next run ends when the job does.
func (o *operator) maintenanceIsKilled(before []container) {
	t := o.t
	ctx, cancel := context.WithTimeout(context.Background(), 12*time.Minute)
	defer cancel()
	start := func() (*exec.Cmd, *lockedBuffer) {
		cmd, said := o.command(ctx, "machine", "maintain", "pai-2", "--wait", "--wait-timeout", "10m", "--yes"), &lockedBuffer{}
		cmd.Stdout, cmd.Stderr = said, said
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
		t.Fatalf("maintain --wait: %v\n%s", err, said)
	}
	since, by := o.maintenanceOf("pai-2")
	if since == "" || !strings.Contains(by, "@") || o.schedulable("pai-2") {
		t.Errorf("in maintenance since %q by %q, schedulable %v", since, by, o.schedulable("pai-2"))
	}
	if out := o.kubectl("get pods -n pai-system --field-selector spec.nodeName=pai-2 -o jsonpath={.items[*].metadata.ownerReferences[0].kind}"); strings.Contains(out, "ReplicaSet") {
		t.Errorf("pods of services are still on the machine: %s", out)
	}
	// The same command again changes nothing.
	o.run(2*time.Minute, "machine", "maintain", "pai-2", "--yes")
	if again, _ := o.maintenanceOf("pai-2"); again != since {
		t.Errorf("in maintenance since %q after the second command, was %q", again, since)
	}
}

// dnsReturns returns a machine that nothing happened to, without its resolver, which a new
// disk does not have. A boot in between does not ask it.
func (o *operator) dnsReturns() {
	o.wantDNS("in maintenance", true)
	const resolver = "/etc/pai/resolv.conf"
	o.on("pai-2", "mv "+resolver+" "+resolver+".away")
	o.run(5*time.Minute, "cluster", "k8s-bootup", "--yes")
	o.wantDNS("after a boot without the machine", true)
	o.on("pai-2", "mv "+resolver+".away "+resolver)
	o.run(10*time.Minute, "machine", "return", "pai-2", "--yes")
	o.wantDNS("after the return", false)
	o.run(5*time.Minute, "machine", "maintain", "pai-2", "--yes")
	o.wantDNS("in maintenance again", true)
}

// machineIsOff boots, refreshes, and upgrades while the machine is off.
func (o *operator) machineIsOff() {
	t := o.t
	o.run(time.Minute, "machine", "kill", "pai-2")
	o.eventually(3*time.Minute, "the node is not ready", func() (bool, string) {
		out := o.kubectl(`get node pai-2 -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}'`)
		return out != "True", out
	})
	since, _ := o.maintenanceOf("pai-2")
	if on := o.dnsMachines(); on != "pai-1 pai-1" {
		t.Errorf("CoreDNS runs on %q, want none on the machine in maintenance", on)
	}
	// The controller of a DaemonSet counts the machine, and would stop.
	o.run(15*time.Minute, "upgrade", "apply", "--to", newer, "--yes")
	o.run(5*time.Minute, "cluster", "k8s-bootup", "--yes")
	o.run(5*time.Minute, "service", "start", "--yes")
	if v := o.serverVersion(); v != newerUpstream {
		t.Errorf("the API server has %s, want %s", v, newerUpstream)
	}
	if still, _ := o.maintenanceOf("pai-2"); still != since || o.schedulable("pai-2") {
		t.Errorf("in maintenance since %q, was %q; schedulable %v", still, since, o.schedulable("pai-2"))
	}
	if op := o.lastOperation(); op.Outcome != "succeeded" {
		t.Errorf("recorded: %+v", op)
	}
	if err := o.refused(3, "machine", "return", "pai-2", "--yes"); !strings.Contains(err.Error(), "unreachable") {
		t.Errorf("the return of a machine that is off: %v", err)
	}
}

func (o *operator) machineReturns() {
	t := o.t
	o.run(3*time.Minute, "machine", "up", "--count", "2")
	o.eventually(2*time.Minute, "the machine is on", func() (bool, string) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		out, err := o.try(ctx, nil, "machine", "shell", "pai-2", "--", "true")
		return err == nil, out
	})
	o.run(10*time.Minute, "machine", "return", "pai-2", "--yes")
	o.wantNodes("pai-1 " + newerUpstream + "  \npai-2 " + newerUpstream + "  ")
	if since, _ := o.maintenanceOf("pai-2"); since != "" {
		t.Errorf("in maintenance since %q after the return", since)
	}
	o.kubectl("cordon pai-1")
	o.submit("examples/train.yaml", 2) // the name of a job that was stopped is in use
	o.kubectl("uncordon pai-1")
	if there := o.containersOf("train"); len(there) != 2 || there[0].Machine != "pai-2" {
		t.Errorf("the job runs at %s, want the machine that returned", fmt.Sprint(there))
	}
	// A return of a machine that is not in maintenance changes nothing.
	if out := o.run(time.Minute, "machine", "return", "pai-2", "--dry-run"); !strings.Contains(out, "not in maintenance") {
		t.Errorf("a second return says: %s", out)
	}
}
