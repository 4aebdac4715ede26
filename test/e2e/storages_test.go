//go:build e2e

package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestStorages runs jobs with a directory of the machine as a storage: what one wrote, the next
// one of the same user reads, and a user without the right is refused. Local machines
// cannot serve NFS, which needs the kernel of the host.
func TestStorages(t *testing.T) {
	inTestAll(t, "two minutes or more on another cluster")
	o := newOperator(t, "storages")
	o.buildBundle(newer)
	o.run(10*time.Minute, "up", "--yes")
	o.on("pai-1", "mkdir -p /srv/scratch /srv/sets && echo a-data-set > /srv/sets/set")
	o.editServices("virtual-clusters:\n  default: {}", `virtual-clusters:
  default: {}
storages:
  scratch: {type: directory, path: /srv/scratch, per-user: true, default: true}
  sets: {type: directory, path: /srv/sets, read-only: true, groups: [default]}`)
	o.run(5*time.Minute, "service", "start", "rest-server", "--yes")
	o.loadRootImage()
	if list := o.run(time.Minute, "storage", "list"); !strings.Contains(list, "scratch") || !strings.Contains(list, "/srv/sets") {
		t.Errorf("got the list\n%s", list)
	}

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
