package running

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The script runs on this host, with directories like those of shims.
func TestListScriptListsRunningContainers(t *testing.T) {
	t.Parallel()
	cgroups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Skipf("this host has no cgroups: %v", err)
	}
	// The cgroup of a container has the ID of the container in its name. This ID is
	// in the cgroup of the test.
	mine, _, _ := strings.Cut(string(cgroups), "/")
	root := t.TempDir()
	bundle := func(id string, pid int, config string) {
		t.Helper()
		dir := filepath.Join(root, id)
		write(t, filepath.Join(dir, "config.json"), config)
		if pid != 0 {
			write(t, filepath.Join(dir, "init.pid"), fmt.Sprint(pid))
		}
	}
	annotations := func(kind, name string) string {
		return `{"ociVersion":"1.2.1","annotations":{"io.kubernetes.cri.container-name":"` + name + `","io.kubernetes.cri.container-type":"` + kind +
			`","io.kubernetes.cri.sandbox-id":"s","io.kubernetes.cri.sandbox-name":"train-0","io.kubernetes.cri.sandbox-namespace":"pai-vc-default","io.kubernetes.cri.sandbox-uid":"u-1"},"linux":{}}`
	}
	bundle(mine, os.Getpid(), annotations("container", "main"))
	bundle("not-started", 0, annotations("container", "main"))
	bundle("pid-of-another", os.Getpid(), annotations("container", "main"))
	bundle("gone", 1<<22+1, annotations("container", "main")) // above the largest PID

	got := list(t, root)
	want := []Container{{ID: mine, PID: os.Getpid(), Namespace: "pai-vc-default", Pod: "train-0", PodUID: "u-1", Name: "main"}}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	bundle(mine, os.Getpid(), annotations("sandbox", ""))
	if got := list(t, root); len(got) != 0 {
		t.Errorf("got %+v, want no sandbox", got)
	}
	bundle(mine, os.Getpid(), `{}`)
	if got := list(t, root); len(got) != 1 || !got[0].OfJob() {
		t.Errorf("got %+v, want one container that might belong to a job", got)
	}
	if got := list(t, filepath.Join(root, "nothing")); len(got) != 0 {
		t.Errorf("got %+v for a machine without containers, want none", got)
	}
}

func list(t *testing.T, root string) []Container {
	t.Helper()
	script := strings.Replace(listScript, "/run/containerd/io.containerd.runtime.v2.task/k8s.io", root, 1)
	// A shim on this host would make a missing directory an error.
	script = strings.Replace(script, "^containerd-shim", "^none-such", 1)
	out, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", "set -eu\n"+script).Output()
	if err != nil {
		t.Fatal(err)
	}
	m, err := parseMachine(string(out))
	if err != nil {
		t.Fatal(err)
	}
	if this, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err != nil || m.Boot != strings.TrimSpace(string(this)) {
		t.Errorf("got boot %q, want %q (%v)", m.Boot, this, err)
	}
	return m.Containers
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestParseContainersRefusesUnknownLines(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"abc\n", "abc\tx\tns\tpod\tuid\tname\n", "abc\t1\tns\tpod\tuid\n", "\n"} {
		if got, err := parseContainers(text); err == nil {
			t.Errorf("%q: got %+v, want an error", text, got)
		}
	}
	for text, want := range map[string]MachineReport{"boot one running\n": {Boot: "one"}, "boot one stopping\n": {Boot: "one", Stopping: true}, "boot one \n": {Boot: "one"}, "boot  \n": {}} {
		if m, err := parseMachine(text); err != nil || m.Boot != want.Boot || m.Stopping != want.Stopping {
			t.Errorf("%q: got %+v (%v), want %+v", text, m, err, want)
		}
	}
	if m, err := parseMachine("abc\t1\tns\tpod\tuid\tname\n"); err == nil {
		t.Errorf("got %+v for a list without boot ID, want an error", m)
	}
}
