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

// TestListScript runs the script on this host, with folders as shims make them.
func TestListScript(t *testing.T) {
	t.Parallel()
	cgroups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		t.Skipf("this host has no cgroups: %v", err)
	}
	// A container's processes are in a cgroup that is named after it; this is
	// a name that this process's cgroups have in them.
	mine, _, _ := strings.Cut(string(cgroups), "/")
	folder := t.TempDir()
	bundle := func(id string, pid int, config string) {
		t.Helper()
		dir := filepath.Join(folder, id)
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
	bundle("gone", 1<<22+1, annotations("container", "main")) // above the largest PID there is

	got := list(t, folder)
	want := []Container{{ID: mine, PID: os.Getpid(), Namespace: "pai-vc-default", Pod: "train-0", PodUID: "u-1", Name: "main"}}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	bundle(mine, os.Getpid(), annotations("sandbox", ""))
	if got := list(t, folder); len(got) != 0 {
		t.Errorf("got %+v, want no sandbox", got)
	}
	bundle(mine, os.Getpid(), `{}`)
	if got := list(t, folder); len(got) != 1 || !got[0].OfJob() {
		t.Errorf("got %+v; a container that does not say whose it is may be a job's", got)
	}
	if got := list(t, filepath.Join(folder, "nothing")); len(got) != 0 {
		t.Errorf("got %+v of a machine without containers", got)
	}
}

func list(t *testing.T, folder string) []Container {
	t.Helper()
	script := strings.Replace(listScript, "/run/containerd/io.containerd.runtime.v2.task/k8s.io", folder, 1)
	// A shim of this host's own would make a folder that is missing an error.
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
		t.Errorf("it says that this is boot %q, want %q, error %v", m.Boot, this, err)
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

func TestParseContainersRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"abc\n", "abc\tx\tns\tpod\tuid\tname\n", "abc\t1\tns\tpod\tuid\n", "\n"} {
		if got, err := parseContainers(text); err == nil {
			t.Errorf("%q was taken for %+v", text, got)
		}
	}
	for text, want := range map[string]MachineReport{"boot one running\n": {Boot: "one"}, "boot one stopping\n": {Boot: "one", Stopping: true}, "boot one \n": {Boot: "one"}, "boot  \n": {}} {
		if m, err := parseMachine(text); err != nil || m.Boot != want.Boot || m.Stopping != want.Stopping {
			t.Errorf("%q was read as %+v, error %v", text, m, err)
		}
	}
	if m, err := parseMachine("abc\t1\tns\tpod\tuid\tname\n"); err == nil {
		t.Errorf("a container was taken for the machine's boot: %+v", m)
	}
}
