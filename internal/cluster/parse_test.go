package cluster

import (
	"maps"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

func TestFlags(t *testing.T) {
	t.Parallel()
	f := flags{"--a=1", "--ab=2", "--c=x=y"}
	if got := f.set("a", "9"); !slices.Equal(got, flags{"--a=9", "--ab=2", "--c=x=y"}) {
		t.Errorf("set in place: %q", got)
	}
	if got := f.set("b", "3"); !slices.Equal(got, flags{"--a=1", "--ab=2", "--c=x=y", "--b=3"}) {
		t.Errorf("add: %q", got)
	}
	if got := f.drop("a"); !slices.Equal(got, flags{"--ab=2", "--c=x=y"}) {
		t.Errorf("drop: %q", got)
	}
	if !slices.Equal(f, flags{"--a=1", "--ab=2", "--c=x=y"}) {
		t.Errorf("the original flags changed: %q", f)
	}
}

// A script passes its flags to the program unchanged.
func TestScriptPassesFlagsOn(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.StringMatching(`[ -~]{0,12}`), 1, 4).Draw(t, "values")
		var f flags
		for _, v := range values {
			f = append(f, "--x="+v)
		}
		s := strings.Replace(script("v0.9-pai", "test", "prog", f), "exec "+layout.Program("v0.9-pai", "prog"), `printf '%s\n'`, 1)
		out, err := exec.Command("sh", "-c", s).Output()
		if err != nil {
			t.Fatal(err)
		}
		if want := strings.Join(f, "\n") + "\n"; string(out) != want {
			t.Errorf("passed on %q, want %q", out, want)
		}
	})
}

func TestEmbeddedScriptsParse(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("scripts/*.sh")
	if err != nil || len(paths) < 5 {
		t.Fatalf("%v, %v", paths, err)
	}
	for _, path := range paths {
		if out, err := exec.Command("sh", "-n", path).CombinedOutput(); err != nil {
			t.Errorf("%s: %s", path, out)
		}
	}
	if out, err := exec.Command("sh", "-n", "-c", observeScript).CombinedOutput(); err != nil {
		t.Errorf("observeScript: %s", out)
	}
}

func TestFlagsOfManifest(t *testing.T) {
	t.Parallel()
	for name, manifest := range map[string]string{
		"empty":          "",
		"no pod":         "a: 1",
		"two containers": "spec: {containers: [{command: [a, --b]}, {command: [c, --d]}]}",
		"no flags":       "spec: {containers: [{command: [a]}]}",
		"no YAML":        "\t",
	} {
		if f, err := flagsOfManifest([]byte(manifest)); err == nil {
			t.Errorf("%s: %q was parsed as a command line", name, f)
		}
	}
}

func TestParseMembers(t *testing.T) {
	t.Parallel()
	members, err := parseMembers([]byte(`{"header":{"cluster_id":10432846726885281848,"member_id":6965855903550217861,"raft_term":2},"members":[
		{"ID":6965855903550217861,"name":"pai-1-a","peerURLs":["https://10.9.0.11:2380"],"clientURLs":["https://10.9.0.11:2379"]},
		{"ID":13040742035073927285,"name":"","peerURLs":["https://10.9.0.11:2390"],"isLearner":true}]}`))
	if err != nil {
		t.Fatal(err)
	}
	m := testConfig().ControlPlane()
	if a := members.named(layout.SlotA.Member(m.Hostname)); a == nil || a.ID != 6965855903550217861 || a.Learner {
		t.Errorf("the first member is %+v", a)
	}
	if b := members.withPeer(layout.SlotB.PeerURL(m.HostIP)); b == nil || b.ID != 13040742035073927285 || !b.Learner || b.Name != "" {
		t.Errorf("the second member is %+v", b)
	}
	if members.named("pai-1-b") != nil {
		t.Error("a member that has not started has its name already")
	}
	if _, err := parseMembers([]byte("no JSON")); err == nil {
		t.Error("text was parsed as members")
	}
}

func TestChooseSlots(t *testing.T) {
	t.Parallel()
	old, next := pai.KubernetesVersion("v0.9-pai"), pai.KubernetesVersion("v0.10-pai")
	type states = map[layout.Slot]plan.RoleState
	for _, c := range []struct {
		name   string
		states states
		want   plan.RoleState
		to     layout.Slot
	}{
		{"nothing there", states{}, plan.RoleState{Link: next}, layout.SlotA},
		{"old in a", states{layout.SlotA: {Link: old, Running: old}}, plan.RoleState{Link: next}, layout.SlotB},
		{"old in b", states{layout.SlotB: {Link: old, Running: old}}, plan.RoleState{Link: next}, layout.SlotA},
		{"both run", states{layout.SlotA: {Link: old, Running: old}, layout.SlotB: {Link: next, Running: next}}, plan.RoleState{Link: next}, layout.SlotB},
		{"new linked, not started", states{layout.SlotA: {Link: old, Running: old}, layout.SlotB: {Link: next}}, plan.RoleState{Link: next}, layout.SlotB},
		{"done", states{layout.SlotB: {Link: next, Running: next}}, plan.RoleState{Link: next}, layout.SlotB},
		{"old stopped by a crash", states{layout.SlotA: {Link: old}}, plan.RoleState{Link: next}, layout.SlotB},
		{"commit", states{layout.SlotB: {Link: next, Running: next, Emulates: "1.35"}}, plan.RoleState{Link: next}, layout.SlotA},
		{"commit cut short", states{layout.SlotA: {Link: next}, layout.SlotB: {Link: next, Running: next, Emulates: "1.35"}}, plan.RoleState{Link: next}, layout.SlotA},
		{"rollback before the commit", states{layout.SlotB: {Link: next, Running: next, Emulates: "1.35"}}, plan.RoleState{Link: old}, layout.SlotA},
		{"old stopped in a, runs in b", states{layout.SlotA: {Link: old}, layout.SlotB: {Link: old, Running: old}}, plan.RoleState{Link: next}, layout.SlotA},
	} {
		to, from := chooseSlots(c.states, c.want)
		if to != c.to || from != c.to.Other() {
			t.Errorf("%s: to %s from %s, want to %s", c.name, to.Name, from.Name, c.to.Name)
		}
	}
}

func TestParseObservation(t *testing.T) {
	t.Parallel()
	m, records := parseObservation(`program v0.10-pai
program v0.9-pai
link etcd-a v0.9-pai
link kubelet v0.10-pai
running etcd-a /opt/pai/v0.9-pai/bin/etcd
running kubelet /opt/pai/v0.9-pai/bin/kubelet (deleted)
running containerd /usr/bin/containerd
link apiserver-b v0.10-pai
running apiserver-b /opt/pai/v0.10-pai/bin/kube-apiserver
emulates apiserver-b 1.35
prepared
joined
images sha256-abc
`)
	want := map[plan.Role]plan.RoleState{
		"etcd-a": {Link: "v0.9-pai", Running: "v0.9-pai"}, "kubelet": {Link: "v0.10-pai", Running: "v0.9-pai"}, "containerd": {},
		"apiserver-b": {Link: "v0.10-pai", Running: "v0.10-pai", Emulates: "1.35"},
	}
	if !maps.Equal(m.Roles, want) {
		t.Errorf("roles %v, want %v", m.Roles, want)
	}
	if !m.Prepared || !m.Joined || !slices.Equal(m.Programs, []pai.KubernetesVersion{"v0.10-pai", "v0.9-pai"}) || !slices.Equal(records, []string{"sha256-abc"}) {
		t.Errorf("observed %+v, %v", m, records)
	}
	if empty, _ := parseObservation(""); empty.Prepared || empty.Joined || len(empty.Roles) > 0 {
		t.Errorf("an empty machine is observed as %+v", empty)
	}
}

func TestParseImages(t *testing.T) {
	t.Parallel()
	out := `REF                       TYPE                                       DIGEST                  SIZE      PLATFORMS   LABELS
pai.local/pause:v1        application/vnd.oci.image.manifest.v1+json sha256:aaa              1.0 MiB   linux/amd64 io.cri-containerd.image=managed,io.cri-containerd.pinned=pinned
sha256:bbb                application/vnd.oci.image.manifest.v1+json sha256:ccc              1.0 MiB   linux/amd64 -
`
	if got := parseImages(out); !reflect.DeepEqual(got, map[string]string{"pai.local/pause:v1": "sha256:aaa", "sha256:bbb": "sha256:ccc"}) {
		t.Errorf("images %v", got)
	}
}

func TestAllThere(t *testing.T) {
	t.Parallel()
	record := []byte(`{"images":{"pai.local/a:v1":"sha256:1","pai.local/b:v1":"sha256:2"}}`)
	have := map[string]string{"pai.local/a:v1": "sha256:1", "pai.local/b:v1": "sha256:2", "other": "sha256:3"}
	if !allThere(record, have) {
		t.Error("images that are there are not seen")
	}
	for name, broken := range map[string]map[string]string{
		"one missing": {"pai.local/a:v1": "sha256:1"},
		"one changed": {"pai.local/a:v1": "sha256:1", "pai.local/b:v1": "sha256:9"},
	} {
		if allThere(record, broken) {
			t.Errorf("%s: got true, want false", name)
		}
	}
	if allThere([]byte("{"), have) || allThere([]byte("{}"), have) {
		t.Error("half a record, or an empty one, counts as all images")
	}
}

func TestParseFacts(t *testing.T) {
	t.Parallel()
	for out, want := range map[string]facts{
		"cgroup 1\ncapabilities 000001fffeffffff\nresolver no\nfilesystem ext2/ext3":  {CgroupV1: true, OOMRestricted: true},
		"cgroup 2\ncapabilities 000001ffffffffff\nresolver yes\nfilesystem overlayfs": {Resolver: true, Overlay: true},
	} {
		if got, err := parseFacts(out); err != nil || got != want {
			t.Errorf("%q: %+v, %v", out, got, err)
		}
	}
	if _, err := parseFacts("capabilities none"); err == nil {
		t.Error("text was parsed as capabilities")
	}
}

func TestParseTasks(t *testing.T) {
	t.Parallel()
	out := "TASK    PID    STATUS\nabc     12     RUNNING\ndef     0      STOPPED\n"
	if got := parseTasks(out); !maps.Equal(got, map[string]bool{"abc": true}) {
		t.Errorf("running %v", got)
	}
}
