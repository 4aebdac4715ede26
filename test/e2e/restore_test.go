//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
)

// TestRestoreFromBackup loses the disk of the control plane, and restores it from a
// backup under running jobs. A job that the backup has keeps its containers. A job
// that it does not have keeps its machine out until it ends, and is never ended. A job
// that has ended since does not run again.
func TestRestoreFromBackup(t *testing.T) {
	inTestAll(t, "four minutes on another cluster")
	o := newOperator(t, "restore")
	o.run(20*time.Minute, "up", "--release", older, "--machines", "2", "--yes")
	o.kubectl("cordon pai-1") // the jobs run on the worker
	o.submit("examples/train.yaml", 2)
	o.submitAs("ended", "examples/train.yaml")
	before := o.containersOf("train")

	r := restoration{operator: o, dir: t.TempDir()}
	r.backUp()
	o.stopJob("ended")
	o.submitAs("younger", "examples/train.yaml")
	younger := r.running("younger")
	if len(before) != 2 || len(younger) != 2 {
		t.Fatalf("got containers %v and %v, want two of each job", before, younger)
	}
	r.loseDisk("pai-1")
	r.bootIsRefused()

	plan := o.run(5*time.Minute, r.restore("--dry-run")...)
	for _, want := range []string{"admin~train", "admin~ended", "younger", "every later write to the cluster is lost"} {
		if !strings.Contains(plan, want) {
			t.Errorf("the plan does not name %q:\n%s", want, plan)
		}
	}
	r.waits()
	o.wantContainersOf("train", before) // as the API shows them; the machine is still out
	if got := r.running("younger"); strings.Join(got, " ") != strings.Join(younger, " ") {
		t.Errorf("the containers that the backup does not have: got %v, want %v", got, younger)
	}
	if got := r.running("ended"); len(got) > 0 {
		t.Errorf("a job that ended after the backup runs again: %v", got)
	}

	for _, id := range younger { // the job ends
		o.on("pai-2", "/opt/pai/role/containerd/bin/ctr -n k8s.io task kill -s SIGKILL "+id)
	}
	o.eventually(time.Minute, "the younger job has ended", func() (bool, string) {
		got := r.running("younger")
		return len(got) == 0, strings.Join(got, " ")
	})
	o.run(10*time.Minute, r.restore()...)
	o.wantContainersOf("train", before)
	if out := o.on("pai-1", "nft list tables; ls /etc/pai /var/lib/pai"); strings.Contains(out, "pai-gate") || strings.Contains(out, "gate.nft") {
		t.Errorf("the gate is left: %s", out)
	}
	o.eventually(3*time.Minute, "the services are ready", func() (bool, string) {
		out := o.kubectl("get pods -n pai-system -o wide; /opt/pai/role/kubelet/bin/kubectl --kubeconfig /etc/kubernetes/admin.conf get nodes")
		return !strings.Contains(out, "NotReady"), out
	})
	o.kubectl("uncordon pai-1")
	r.run(10*time.Minute, "service", "start", "--yes")
	o.eventually(time.Minute, "Kueue is ready", func() (bool, string) {
		out := o.kubectl("get pods -n pai-system -l app.kubernetes.io/name=kueue --no-headers")
		return strings.Contains(out, " 1/1 "), out
	})
	o.hasState("train", "RUNNING")
	o.hasState("ended", "STOPPED")
	o.submitAs("after", "examples/train.yaml")
	o.wantContainersOf("train", before)
}

// restoration is a backup and what is needed to restore it.
type restoration struct {
	*operator
	dir string
}

func (r restoration) backUp() {
	r.t.Helper()
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(r.identity(), []byte(identity.String()+"\n"), 0o600); err != nil {
		r.t.Fatal(err)
	}
	started := time.Now()
	r.run(3*time.Minute, "cluster", "backup", "--to", r.backups(), "--recipient", identity.Recipient().String(), "--yes")
	r.t.Logf("backup: %.1f s", time.Since(started).Seconds())
	if out := r.run(time.Minute, "cluster", "backup", "list", "--from", r.backups()); !strings.Contains(out, "signed") {
		r.t.Errorf("the backup is not listed: %s", out)
	}
	r.run(time.Minute, "cluster", "backup", "verify", "--from", r.backups(), "--identity", r.identity())
}

func (r restoration) identity() string { return filepath.Join(r.dir, "identity.txt") }
func (r restoration) backups() string  { return filepath.Join(r.dir, "backups") }

func (r restoration) restore(more ...string) []string {
	return append([]string{"cluster", "restore", "--from", r.backups(), "--identity", r.identity(), "--yes"}, more...)
}

// waits wants a restore to end with the exit code for waiting.
func (r restoration) waits() {
	r.t.Helper()
	started := time.Now()
	err := r.refusedWithin(10*time.Minute, 5, r.restore()...)
	r.t.Logf("restore: %.1f s", time.Since(started).Seconds())
	if !strings.Contains(err.Error(), "pai-2 stays out") {
		r.t.Errorf("got %v, want that pai-2 waits", err)
	}
}

// bootIsRefused wants that no new cluster is made of the machines whose jobs run.
func (r restoration) bootIsRefused() {
	r.t.Helper()
	err := r.refused(3, "cluster", "k8s-bootup", "--yes")
	for _, want := range []string{"pai-2 has a kubelet v0.10-pai, pods of jobs (admin-", "paictl cluster restore"} {
		if !strings.Contains(err.Error(), want) {
			r.t.Errorf("got %v, want %q", err, want)
		}
	}
	if out := r.on("pai-1", "ls -d /etc/kubernetes /var/lib/etcd 2>/dev/null || :"); out != "" {
		r.t.Errorf("the refused boot left %s", out)
	}
}

// loseDisk replaces a machine by a new one with its name and address.
func (r restoration) loseDisk(machine string) {
	r.t.Helper()
	r.run(time.Minute, "machine", "kill", machine)
	if err := os.RemoveAll(filepath.Join(r.state, "local", "machines", machine)); err != nil {
		r.t.Fatal(err)
	}
	r.run(5*time.Minute, "machine", "up", "--count", "2")
	keys, err := os.ReadFile(filepath.Join(r.state, "local", "known_hosts")) // it has another host key
	if err == nil {
		err = os.WriteFile(filepath.Join(r.state, "clusters", "local", "known_hosts"), keys, 0o600)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// running lists the containers of a job that run on the worker, without the API.
func (r restoration) running(job string) []string {
	r.t.Helper()
	out := r.on("pai-2", `cd /run/containerd/io.containerd.runtime.v2.task/k8s.io
for id in *; do
    [ -e "$id/config.json" ] || continue
    grep -q '"io.kubernetes.cri.container-type":"container"' "$id/config.json" || continue
    grep -q '"io.kubernetes.cri.sandbox-name":"[^"]*`+job+`[^"]*"' "$id/config.json" && kill -0 "$(cat "$id/init.pid")" 2>/dev/null && echo "$id" || :
done`)
	return strings.Fields(out)
}
