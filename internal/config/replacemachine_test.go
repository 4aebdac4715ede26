package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pai.dev/pai/internal/pai"
)

const replaceable = `schema-version: 2
machine-sku:
  cpu: {cpu: {vcore: 4}, mem: 8}
machine-list:
  # the first
  - hostname: cp-1
    hostip: 10.0.0.1
    machine-type: cpu
    k8s-role: master
  - hostname: cp-2
    hostip: 10.0.0.2
    machine-type: cpu
    k8s-role: master # broken
  - hostname: cp-3
    hostip: 10.0.0.3
    machine-type: cpu
    k8s-role: master
  # takes over
  - hostname: gpu-1
    hostip: 10.0.0.4
    machine-type: cpu
    k8s-role: worker # for now
`

// replaceableDir is a configuration with three control-plane machines and a worker.
func replaceableDir(t *testing.T) (dir, file string) {
	t.Helper()
	dir = t.TempDir()
	list := []Machine{}
	for i, name := range []string{"cp-1", "cp-2", "cp-3", "gpu-1"} {
		role := RoleControlPlane
		if i == 3 {
			role = RoleWorker
		}
		list = append(list, Machine{Hostname: name, HostIP: "10.0.0." + string(rune('1'+i)), Role: role, SSHPort: 22, Username: "root"})
	}
	if err := Write(dir, New("lab", pai.Pair{Services: "v0.11", Kubernetes: "v0.11-pai"}, list, []string{testKey})); err != nil {
		t.Fatal(err)
	}
	return dir, filepath.Join(dir, LayoutFile)
}

// Only the entry of the lost machine and the role of the other one change.
func TestReplaceControlPlaneKeepsTheRest(t *testing.T) {
	t.Parallel()
	dir, file := replaceableDir(t)
	if err := os.WriteFile(file, []byte(replaceable), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := ReplaceControlPlane(dir, "cp-2", "gpu-1"); err != nil {
		t.Fatal(err)
	}
	want := strings.Replace(replaceable, "  - hostname: cp-2\n    hostip: 10.0.0.2\n    machine-type: cpu\n    k8s-role: master # broken\n", "", 1)
	want = strings.Replace(want, "k8s-role: worker # for now", "k8s-role: master # for now", 1)
	if got, err := os.ReadFile(file); err != nil || string(got) != want {
		t.Errorf("got %v\n%s\nwant\n%s", err, got, want)
	}
}

func TestReplaceControlPlaneRefuses(t *testing.T) {
	t.Parallel()
	dir, file := replaceableDir(t)
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]string{{"cp-9", "gpu-1"}, {"cp-2", "gpu-9"}, {"gpu-1", "cp-1"}, {"cp-2", "cp-1"}, {"cp-2", "cp-2"}} {
		if err := ReplaceControlPlane(dir, c[0], c[1]); pai.CodeOf(err) != pai.CodeUsage || pai.NextOf(err) == "" {
			t.Errorf("%v: got %v", c, err)
		}
	}
	if after, err := os.ReadFile(file); err != nil || string(after) != string(before) {
		t.Errorf("the layout changed: %v\n%s", err, after)
	}
}
