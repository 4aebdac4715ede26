package cluster

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/test/inspecttest"
)

// mountedMachine is a made-up machine whose scripts run in a mount namespace, so
// that they can mount and unmount.
type mountedMachine struct {
	*inspecttest.Host
	t *testing.T
}

func newMountedMachine(t *testing.T) mountedMachine {
	t.Helper()
	if err := exec.CommandContext(t.Context(), "unshare", "-Urm", "true").Run(); err != nil {
		t.Skipf("this host does not allow mount namespaces: %v", err)
	}
	m := mountedMachine{inspecttest.NewHost(t, "pai-1"), t}
	for _, path := range []string{
		"/var/lib/kubelet/pki/key", "/var/lib/kubelet/pods/u1/volumes/v/", "/var/lib/kubelet/pods/u1/file", "/var/lib/kubelet/cpu_manager_state",
		"/var/lib/kubelet/notes.txt", "/var/lib/kubelet-x/mine", "/var/lib/etcd/a/member/x", "/var/lib/etcd/mine", "/var/lib/containerd/io.containerd.content.v1.content/blob",
		"/etc/kubernetes/pki/ca.crt", "/etc/kubernetes/mine", "/etc/pai/ca.crt", "/etc/pai/mine", "/opt/pai/v0.10-pai/bin/kubelet", "/opt/pai/role/mine",
		"/var/lib/pai/cluster.json", "/var/lib/pai/mine/data", "/var/lib/pai/lock", "/etc/systemd/system/pai-backup.service", "/srv/disk/lost+found/x",
		"/run/containerd/io.containerd.runtime.v2.task/k8s.io/c1/rootfs/", "/run/pai/cni/x", "/sys/fs/cgroup/x", "/run/netns/other", "/etc/hosts",
	} {
		if dir, found := strings.CutSuffix(path, "/"); found {
			path = dir + "/.keep"
		}
		m.Write(path, "x\n")
	}
	m.Write("/etc/systemd/system/pai-kubelet.service", "# Written by PAI.\n")
	return m
}

// clean runs the scripts of a step after before, and then after, in one mount
// namespace. It returns the output, and what the step has left to do.
func (m mountedMachine) clean(step plan.Step, before, after string) (output, left string, err error) {
	m.t.Helper()
	var scripts []string
	m.Script = func(_ context.Context, c machine.Command) (string, error) {
		scripts = append(scripts, c.Script)
		return "", nil
	}
	step.Kind = plan.KindClean
	c := &cluster{}
	if err := c.clean(m.t.Context(), m.Host, config.Machine{}, step); err != nil {
		m.t.Fatal(err)
	}
	if _, err := c.cleanDone(m.t.Context(), m.Host, config.Machine{}, step); err != nil {
		m.t.Fatal(err)
	}
	root := string(m.Dir)
	last := len(scripts) - 1
	text := "set -e\nroot=" + machine.Quote(root) + "\nmount --bind $root $root\nmount -o remount,bind,ro /\ncd $root\n" + stubs + "ip() { :; }\n" + before + "\n"
	for _, s := range scripts[:last] {
		text += "(\nset -eu\n" + s + "\n)\n"
	}
	text += "(\nset -eu\n" + scripts[last] + "\n) > $root/left\n" + after
	cmd := exec.CommandContext(m.t.Context(), "unshare", "-Urm", "sh", "-c", ownPath.ReplaceAllString(text, "${1}"+root+"/$2/"))
	out, err := cmd.CombinedOutput()
	data, _ := os.ReadFile(m.At("/left")) // none if the step failed
	return string(out), strings.ReplaceAll(string(data), root, ""), err
}

// there lists the files of a directory.
func (m mountedMachine) there(dir string) []string {
	var found []string
	_ = filepath.WalkDir(m.At(dir), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			found = append(found, strings.TrimPrefix(path, string(m.Dir)))
		}
		return nil
	})
	return found
}

var foreignFiles = []string{
	"/etc/kubernetes/mine", "/etc/pai/mine", "/etc/systemd/system/pai-backup.service", "/opt/pai/role/mine",
	"/var/lib/etcd/mine", "/var/lib/kubelet-x/mine", "/var/lib/kubelet/notes.txt", "/var/lib/pai/mine/data",
}

func TestWipeLeavesWhatPAIDidNotMake(t *testing.T) {
	t.Parallel()
	m := newMountedMachine(t)
	out, left, err := m.clean(plan.Step{Wipe: true, Keep: []string{"/etc/pai/mine", "/opt/pai/role/mine", "/var/lib/pai/mine"}}, "", "")
	if err != nil || left != "" {
		t.Fatalf("got %v, left %q: %s", err, left, out)
	}
	got := slices.Concat(m.there("/etc/kubernetes"), m.there("/etc/pai"), m.there("/etc/systemd"), m.there("/opt/pai"), m.there("/var/lib"))
	want := append(slices.Clone(foreignFiles), "/var/lib/pai/lock")
	if !slices.Equal(sorted(got), sorted(want)) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func sorted(s []string) []string { return slices.Sorted(slices.Values(s)) }

func TestCleanKeepsIdentityAndData(t *testing.T) {
	t.Parallel()
	m := newMountedMachine(t)
	if out, left, err := m.clean(plan.Step{Keep: []string{"/opt/pai/role/mine"}}, "", ""); err != nil || left != "" {
		t.Fatalf("got %v, left %q: %s", err, left, out)
	}
	for path, want := range map[string]int{"/var/lib/kubelet/pki": 1, "/var/lib/kubelet/pods": 0, "/var/lib/kubelet": 2, "/var/lib/etcd": 2, "/etc/kubernetes": 2, "/opt/pai": 2, "/var/lib/kubelet-x": 1} {
		if got := m.there(path); len(got) != want {
			t.Errorf("%s: got %q, want %d files", path, got, want)
		}
	}
}

// Disks and links below the directories of Kubernetes stay, and are emptied.
func TestCleanEmptiesDisksAndLinks(t *testing.T) {
	t.Parallel()
	const move = `move() { mkdir -p "$2"; cp -a "$1/." "$2"; }
`
	for _, test := range []struct{ name, before, disk string }{
		{"disk of the kubelet", move + "move var/lib/kubelet srv/disk; mount --bind srv/disk var/lib/kubelet", "/var/lib/kubelet"},
		{"disk of pods", move + "move var/lib/kubelet/pods srv/disk; mount --bind srv/disk var/lib/kubelet/pods", "/var/lib/kubelet/pods"},
		{"disk of etcd", "mount --bind var/lib/etcd var/lib/etcd", "/var/lib/etcd"},
		{"disk of programs", "mount --bind opt/pai opt/pai", "/opt/pai"},
		{"disk of the state", "mount --bind var/lib/pai var/lib/pai", "/var/lib/pai"},
		{"link of containerd", move + "move var/lib/containerd srv/nvme; rm -r var/lib/containerd; ln -s $root/srv/nvme var/lib/containerd", ""},
		{"link of the kubelet with a mount of a pod", move + "move var/lib/kubelet srv/k; rm -r var/lib/kubelet; ln -s $root/srv/k var/lib/kubelet; mount --bind srv/disk srv/k/pods/u1/volumes/v", ""},
		{"link of pods", move + "move var/lib/kubelet/pods srv/x/pods; rm -r var/lib/kubelet/pods; ln -s $root/srv/x/pods var/lib/kubelet/pods", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			m := newMountedMachine(t)
			out, left, err := m.clean(plan.Step{Wipe: true, Keep: []string{}}, test.before+"\ntouch srv/mine", "cat /proc/self/mountinfo")
			if err != nil || left != "" {
				t.Fatalf("got %v, left %q: %s", err, left, out)
			}
			if test.disk != "" && !strings.Contains(out, m.At(test.disk)+" ") {
				t.Errorf("%s was unmounted", test.disk)
			}
			var lost []string
			for _, path := range m.there("/srv") {
				if name := filepath.Base(path); !slices.Contains([]string{"mine", "x", "notes.txt"}, name) || name == "x" && !strings.Contains(path, "lost+found") {
					lost = append(lost, path)
				}
			}
			if len(lost) > 0 || len(m.there("/srv/disk/lost+found")) != 1 {
				t.Errorf("got left %q, and %q on the disk", lost, m.there("/srv/disk/lost+found"))
			}
			if got := m.there("/var/lib/kubelet-x"); len(got) != 1 {
				t.Error("the neighbor of the kubelet directory was deleted")
			}
		})
	}
}

// What cannot be removed is found before anything is stopped.
func TestCleanRefusesUnknownMountsAndLinks(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, before, want string }{
		{"a mount of the operator", "mkdir -p var/lib/kubelet/plugins/mine; mount --bind srv/disk var/lib/kubelet/plugins/mine", "/var/lib/kubelet/plugins/mine is a mount point"},
		{"a mount in the data", "mount --bind srv/disk var/lib/containerd/io.containerd.content.v1.content", ""},
		{"a mount deep in the data", "mkdir -p var/lib/etcd/a/member/wal; mount --bind srv/disk var/lib/etcd/a/member/wal", "/var/lib/etcd/a/member/wal is a mount point"},
		{"a link to shared data", "rm -r var/lib/kubelet/pods; ln -s $root/srv var/lib/kubelet/pods", "where other files can be"},
		{"a link to nothing", "rm -r var/lib/containerd; ln -s /nothing var/lib/containerd", "is a link to nothing"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			m := newMountedMachine(t)
			out, _, err := m.clean(plan.Step{Wipe: true, Keep: []string{}}, test.before, "")
			if test.want == "" {
				if err != nil {
					t.Errorf("got %v: %s", err, out)
				}
				return
			}
			if err == nil || !strings.Contains(out, "nothing was changed: ") || !strings.Contains(out, test.want) {
				t.Errorf("got %v: %s, want it to be refused with %q", err, out, test.want)
			}
			if len(m.there("/srv/disk")) != 1 || len(m.there("/etc/systemd/system")) != 2 || len(m.there("/run/pai")) != 1 {
				t.Errorf("got a changed machine: %q", m.there("/"))
			}
		})
	}
}

func TestWipeRefusesUnknownFiles(t *testing.T) {
	t.Parallel()
	h := inspecttest.NewHost(t, "pai-1")
	if err := (&cluster{}).clean(t.Context(), h, config.Machine{}, plan.Step{Wipe: true}); err == nil || len(h.Scripts) > 0 {
		t.Errorf("got %v after %d scripts, want a refusal before the first", err, len(h.Scripts))
	}
}
