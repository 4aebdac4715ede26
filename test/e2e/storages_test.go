//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestStorages runs jobs with a directory of the machine as a storage: what one wrote, the next
// one of the same user reads, and a user without the right is refused. A check names what is
// wrong with storages and leaves nothing. Local machines cannot serve NFS, which needs the
// kernel of the host.
func TestStorages(t *testing.T) {
	inTestAll(t, "two minutes or more on another cluster")
	o := newOperator(t, "storages")
	o.buildBundle(newer)
	o.run(10*time.Minute, "up", "--yes")
	o.on("pai-1", "mkdir -p /srv/scratch /srv/sets && echo a-data-set > /srv/sets/set")
	o.editServices(`(?m)^storages:\n`, `storages:
  absent: {type: directory, path: /srv/absent}
  scratch: {type: directory, path: /srv/scratch, per-user: true, default: true}
  sets: {type: directory, path: /srv/sets, read-only: true, groups: [default]}
  share: {type: nfs, server: 127.0.0.1, path: /export}
`)
	o.part("the storages are tried", (*operator).triesStorages)
	o.part("a check that is killed leaves nothing", (*operator).killedCheckLeavesNothing)
	o.run(5*time.Minute, "service", "start", "rest-server", "--yes")
	o.loadRootImage()
	if list := o.run(time.Minute, "storage", "list"); !strings.Contains(list, "scratch") || !strings.Contains(list, "/srv/sets") {
		t.Errorf("got the list\n%s", list)
	}

	o.part("a training keeps its checkpoint in the storage of paictl up", func(o *operator) {
		for _, name := range []string{"data", "learn"} {
			o.run(time.Minute, "job", "submit", "examples/"+name+".yaml")
			o.hasState(name, "SUCCEEDED")
		}
		if got := o.on("pai-1", "cat /srv/pai/default/admin/moons.json"); !strings.HasPrefix(got, `{"step":300,`) {
			o.t.Errorf("the checkpoint is %.100q", got)
		}
	})
	o.part("a job reads a data set and keeps a checkpoint", func(o *operator) {
		o.withStorages("write", "[{}, {name: sets, mountPath: /sets}]", "cat /sets/set > /mnt/scratch/checkpoint")
		o.hasState("write", "SUCCEEDED")
		if got := o.on("pai-1", "cat /srv/scratch/admin/checkpoint"); strings.TrimSpace(got) != "a-data-set" {
			o.t.Errorf("the machine has %q in the directory of the user", got)
		}
		o.withStorages("read", "[{name: scratch, mountPath: /kept}]", "grep -q a-data-set /kept/checkpoint")
		o.hasState("read", "SUCCEEDED")
	})
	o.part("a data set is read-only", func(o *operator) {
		o.withStorages("spoil", "[{name: sets}]", "echo spoiled > /mnt/sets/set")
		o.hasState("spoil", "FAILED")
		if got := o.on("pai-1", "cat /srv/sets/set"); strings.TrimSpace(got) != "a-data-set" {
			o.t.Errorf("a job changed the data set to %q", got)
		}
	})
	o.part("another user is refused", func(o *operator) {
		u := o.createUser()
		for storages, want := range map[string]int{"[{name: scratch}]": http.StatusForbidden, "[{name: nothing}]": http.StatusNotFound, "[{name: sets}]": http.StatusAccepted} {
			if status, answer := o.askREST(http.MethodPost, "/rest-server/api/v2/jobs", u.token, []byte(jobWithStorages("other", storages, "true"))); status != want {
				o.t.Errorf("%s: got %d %s, want %d", storages, status, answer, want)
			}
		}
	})
	o.part("a job keeps a storage that was removed", func(o *operator) {
		o.withStorages("keeps", "[{name: scratch}]", "while ! [ -e /mnt/scratch/go ]; do sleep 1; done")
		o.eventually(time.Minute, "the task runs", func() (bool, string) { return len(o.containersOf("keeps")) == 1, "" })
		o.editServices("  scratch: {type: directory, path: /srv/scratch, per-user: true, default: true}\n", "")
		o.run(5*time.Minute, "service", "start", "rest-server", "--yes")
		o.on("pai-1", "touch /srv/scratch/admin/go")
		o.hasState("keeps", "SUCCEEDED")
	})
}

// triesStorages wants a result of each storage, before the services have them.
func (o *operator) triesStorages() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	out, err := o.try(ctx, nil, "storage", "check", "-o", "json")
	if exitCode(err) != 1 || !strings.Contains(err.Error(), "absent on pai-1, share on pai-1") {
		o.t.Errorf("got %v, want exit code 1 and the storages that cannot be used", err)
	}
	var checked []struct {
		Storage  string
		Machines []struct {
			OK, OnlyRoot                 bool
			Problem, Found, Fix          string
			WriteMBs, ReadMBs, LatencyMs float64
		}
	}
	if err := json.Unmarshal([]byte(out), &checked); err != nil {
		o.t.Fatalf("%v\n%s", err, out)
	}
	got := map[string]string{}
	for _, c := range checked {
		if len(c.Machines) != 1 {
			o.t.Fatalf("got %+v, want one machine", c)
		}
		m := c.Machines[0]
		if got[c.Storage] = m.Problem; m.OK && m.OnlyRoot {
			got[c.Storage] = "only root writes"
		}
		if m.OK == (m.Fix != "") || m.OK && c.Storage != "sets" && (m.WriteMBs <= 0 || m.ReadMBs <= 0 || m.LatencyMs <= 0) {
			o.t.Errorf("%s: got %+v, want figures or a fix", c.Storage, m)
		}
	}
	want := map[string]string{"absent": "directory-missing", "default": "", "scratch": "only root writes", "sets": "", "share": "no-nfs-client"}
	if !maps.Equal(got, want) {
		o.t.Errorf("got %v, want %v", got, want)
	}
	o.wantNoTrace()
}

func (o *operator) killedCheckLeavesNothing() {
	for _, after := range []time.Duration{time.Second, 1500 * time.Millisecond, 2 * time.Second} {
		ctx, cancel := context.WithTimeout(context.Background(), after)
		_, _ = o.try(ctx, nil, "storage", "check", "default", "scratch") // it may end before
		cancel()
	}
	o.eventually(2*time.Minute, "the programs on the machine have ended", func() (bool, string) {
		out := o.on("pai-1", "pgrep -f '^/opt/pai/helper/.*/pai-machine storage' || true")
		return strings.TrimSpace(out) == "", out
	})
	o.wantNoTrace()
}

// wantNoTrace wants no file, no mount, and no directory that a check of storages made.
func (o *operator) wantNoTrace() {
	o.t.Helper()
	if out := o.on("pai-1", "find /srv/scratch /srv/sets /srv/pai -name '.pai*'; ls -d /srv/absent 2>/dev/null; grep /opt/pai/helper /proc/1/mountinfo || true"); strings.TrimSpace(out) != "" {
		o.t.Errorf("the check left:\n%s", out)
	}
}

func (o *operator) withStorages(name, storages, command string) {
	o.t.Helper()
	file := filepath.Join(o.t.TempDir(), name+".yaml")
	if err := os.WriteFile(file, []byte(jobWithStorages(name, storages, command)), 0o600); err != nil {
		o.t.Fatal(err)
	}
	o.run(time.Minute, "job", "submit", file)
}

func jobWithStorages(name, storages, command string) string {
	return fmt.Sprintf(`protocolVersion: 2
name: %s
type: job
prerequisites:
  - {name: root, type: dockerimage, uri: "test/root:v1"}
taskRoles:
  worker:
    instances: 1
    dockerImage: root
    resourcePerInstance: {cpu: 0.5, memoryMB: 64, gpu: 0}
    commands: [%q]
extras:
  storages: %s
`, name, command, storages)
}
