//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestHostileUpgrade runs the hostile set beside a training job through an upgrade that
// replaces the API server, the API proxy, the network program, and the runtime of a
// machine: a fork bomb, a job that fills the disk, one that uses all memory, a flood of
// connections, a flood of output, one that probes the network, a label that a runtime
// would act on, and a job that would fill etcd. The training job is not interrupted, no
// request fails, and each culprit is named to its user.
//
// The release is built again with patches under its name: jobs that an older release
// accepted keep what they started with.
func TestHostileUpgrade(t *testing.T) {
	inTestAll(t, "ten minutes or more on another cluster")
	w := workshop{t, t.TempDir()}
	o := newOperator(t, "hostile-upgrade")
	o.buildBundle(newer)
	o.run(10*time.Minute, "up", "--yes")
	o.editServices("virtual-clusters:\n  default: {}", "virtual-clusters:\n  default:\n    task-disk-mb: 512")
	o.run(5*time.Minute, "service", "start", "rest-server", "--yes")
	o.submit("test/e2e/testdata/hold.yaml", 2)
	before := o.containersOf("hold")
	o.loadRootImage()

	tree := w.newDir("patched")
	w.shell(repository(), "git archive HEAD | tar -x -C "+tree)
	for _, c := range []change{patchedProxy, patchedNetwork,
		{"components/runc/v1.5.2/component.yaml", "cgo: true\n", "cgo: true\nstamps:\n  main.gitCommit: " + patched + "\n"}} {
		w.change(tree, c)
	}
	o.program, o.cache = w.paictl(changedUnit, changedPreparation, changedFlag), w.cache()
	o.run(40*time.Minute, "release", "build", newer, "--source", tree)

	stopClient := o.startClient()
	o.part("a job that would fill etcd is refused", func(o *operator) {
		err := o.refused(1, "job", "submit", largeJob(o.t))
		if !strings.Contains(err.Error(), "MiB") && !strings.Contains(err.Error(), "bytes") {
			o.t.Errorf("the refusal has no numbers: %v", err)
		}
	})
	machine := strings.TrimSpace(o.kubectl("get nodes -o jsonpath={.items[0].status.addresses[0].address}"))
	api := o.kubectl("-n default get service kubernetes -o jsonpath={.spec.clusterIP}")
	// Each begins before the upgrade and runs for as long as it can.
	for _, c := range []struct {
		name     string
		memoryMB int
		command  string
	}{
		{"fork", 256, "f() { f | f & }; f; sleep 3600"},
		{"memory", 128, "until [ -e /tmp/go ]; do sleep 0.2; done; tail /dev/zero"},
		{"disk", 128, "until [ -e /tmp/go ]; do sleep 0.2; done; dd if=/dev/zero of=/fill bs=1M count=1500; sleep 3600"},
		{"log", 128, "yes 0123456789012345678901234567890123456789"},
		{"connections", 128, fmt.Sprintf("while true; do for p in 1 2 3 4 5 6 7 8; do (nc -w 1 %s 443 </dev/null; nc -w 1 %s 6443 </dev/null; nc -w 1 %s 9186 </dev/null) >/dev/null 2>&1 & done; wait; done", api, machine, machine)},
		{"probes", 128, fmt.Sprintf("while true; do for p in 22 2379 2389 6443 9091 9100 9186 10250; do nc -w 1 %s $p </dev/null >/dev/null 2>&1 && echo reached $p; done; nc -w 1 169.254.169.254 80 </dev/null && echo reached metadata; echo probed; done", machine)},
		{"labels", 64, "sleep 3600"},
	} {
		o.hostileWith(c.name, 0.1, c.memoryMB, c.command) // all run at the same time, on two cores
	}
	o.eventually(2*time.Minute, "all of them have started", func() (bool, string) {
		out := o.run(time.Minute, "job", "list")
		return strings.Count(out, "RUNNING") >= 7, out
	})

	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute)
	defer cancel()
	upgraded := make(chan error, 1)
	go func() {
		out, err := o.try(ctx, nil, "upgrade", "apply", "--to", newer, "--yes")
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, out)
		}
		upgraded <- err
	}()
	o.upgradeHasStarted()
	for _, name := range []string{"memory", "disk"} { // they end within the upgrade
		for _, c := range o.containersOf(name) {
			o.on("pai-1", "/opt/pai/role/containerd/bin/ctr -n k8s.io task exec --exec-id go "+strings.TrimPrefix(c.ID, "containerd://")+" touch /tmp/go")
		}
	}
	if err := <-upgraded; err != nil {
		t.Fatal(err)
	}
	op := o.lastOperation()
	if op.Outcome != "succeeded" || len(op.Jobs.Interrupted) > 0 {
		t.Errorf("the upgrade %s and interrupted %+v, want none", op.Outcome, op.Jobs.Interrupted)
	}
	for _, want := range []string{"apiserver", "api-proxy", "network", "containerd"} {
		replaced := false
		for _, s := range op.Steps {
			replaced = replaced || strings.Contains(s.ID, want)
		}
		if !replaced {
			t.Errorf("no step replaced %s: %+v", want, op.Steps)
		}
	}
	failed := map[string]bool{}
	for _, f := range op.Jobs.Failed {
		failed[f.Job] = true
	}
	if failed["admin~hold"] || !failed["admin~memory"] || !failed["admin~disk"] {
		t.Errorf("the report names as failed by themselves %+v, want those of memory and disk, and not hold", op.Jobs.Failed)
	}
	o.wantContainersOf("hold", before)
	o.part("no request of the client failed", func(o *operator) { stopClient(o.t) })

	o.part("the culprits are named", func(o *operator) {
		for name, reason := range map[string]string{"memory": "it needed more memory than the task has", "disk": "ephemeral"} {
			o.hasState(name, "FAILED")
			if out := o.run(time.Minute, "job", "show", name); !strings.Contains(out, reason) {
				o.t.Errorf("the user of %s reads\n%s\nwant %q", name, out, reason)
			}
		}
		if out := o.run(time.Minute, "job", "logs", "probes"); strings.Contains(out, "reached") || !strings.Contains(out, "probed") {
			o.t.Errorf("a task reached what it must not reach:\n%s", out)
		}
		id := strings.TrimPrefix(o.containersOf("labels")[0].ID, "containerd://")
		if labels := o.on("pai-1", "/opt/pai/role/containerd/bin/ctr -n k8s.io containers info "+id); strings.Contains(labels, hostileLabel) {
			o.t.Errorf("the container has the label of its image:\n%s", labels)
		}
		for _, name := range []string{"fork", "log", "connections", "probes", "labels"} {
			if out := o.run(time.Minute, "job", "show", name, "-o", "json"); strings.Contains(out, `"RUNNING"`) {
				o.run(time.Minute, "job", "stop", name)
			}
		}
		o.eventually(5*time.Minute, "the containers of the culprits have ended", func() (bool, string) {
			left := o.jobContainers()
			return len(left) == len(before), fmt.Sprint(left)
		})
	})
	o.answersFor(10 * time.Second)
}

// largeJob is a job of 8,000 tasks with a script of 110 kB each.
func largeJob(t *testing.T) string {
	t.Helper()
	var text strings.Builder
	fmt.Fprintf(&text, "protocolVersion: 2\nname: large\ntype: job\nprerequisites:\n  - {name: i, type: dockerimage, uri: 'pai.local/example:v1'}\nparameters:\n  x: %s\ntaskRoles:\n", strings.Repeat("x", 110_000))
	for k := range 8 {
		fmt.Fprintf(&text, "  role%d:\n    instances: 1000\n    dockerImage: i\n    resourcePerInstance: {cpu: 0.001, memoryMB: 16, gpu: 0}\n    commands: ['echo <%% $parameters.x %%>']\n", k)
	}
	file := filepath.Join(t.TempDir(), "large.yaml")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
