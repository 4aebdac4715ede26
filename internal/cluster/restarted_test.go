package cluster

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
)

// Tasks that a restart of the machine ended are marked, before its kubelet reports them as
// failed. Those that run are not: they are beside another kubelet of the same boot, or lived
// through the upgrade to the first version that marks.
func TestTasksThatARestartEndedAreMarked(t *testing.T) {
	t.Parallel()
	const version = pai.KubernetesVersion("v0.11-pai")
	const kubectl = `#!/bin/sh
echo "$*" >>ROOT/calls
case "$*" in
*" get pods "*)
    [ -e ROOT/api ] || { : >ROOT/api; exit 1; } # it is away at first
    printf 'pai-vc-default alice-train-worker-0\npai-vc-red bob-x-worker-1\n' ;;
*) cat >>ROOT/calls ;;
esac
`
	for name, c := range map[string]struct {
		files []string // that the machine has
		marks bool
	}{
		"after a boot":                      {[]string{"kubelet.conf"}, true},
		"a machine that never joined":       {nil, false},
		"another kubelet of the same boot":  {[]string{"kubelet.conf", "run/kubelet-started"}, false},
		"an upgrade beside tasks that run":  {[]string{"kubelet.conf", "cgroup/memory/kubepods/pod1/cgroup.procs"}, false},
		"groups without processes are left": {[]string{"kubelet.conf", "cgroup/memory/system.slice/cgroup.procs", "cgroup/memory/kubepods/pod1/cgroup.procs (empty)"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			write := func(file, content string) {
				file = filepath.Join(root, file)
				if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(content), 0o700); err != nil { //nolint:gosec // a program
					t.Fatal(err)
				}
			}
			for _, file := range c.files {
				file, empty := strings.CutSuffix(file, " (empty)")
				write(file, map[bool]string{false: "1\n"}[empty])
			}
			write("kubectl", strings.ReplaceAll(kubectl, "ROOT", root))
			write("cgroup/none", "")
			lines := marksEndedTasks(config.Machine{Hostname: "gpu-1"}, version)
			here := strings.NewReplacer(layout.Program(version, "kubectl"), root+"/kubectl", layout.KubeletConf, root+"/kubelet.conf",
				layout.RunDir, root+"/run", "/sys/fs/cgroup", root+"/cgroup", "sleep 1", "sleep 0.01").Replace(strings.Join(lines, "\n"))
			out, err := exec.CommandContext(t.Context(), "sh", "-euc", here+"\necho starts").CombinedOutput()
			if err != nil || string(out) != "starts\n" {
				t.Fatalf("got %q, %v, want the kubelet to start", out, err)
			}
			if _, err := os.Stat(root + "/run/kubelet-started"); err != nil {
				t.Error(err)
			}
			calls, _ := os.ReadFile(root + "/calls")
			for _, want := range []string{
				"get pods -A -l pai.dev/job --field-selector=spec.nodeName=gpu-1,status.phase=Running",
				"apply --server-side --subresource=status --field-manager=pai -f -",
				`"namespace":"pai-vc-default","name":"alice-train-worker-0"},"status":{"conditions":[{"type":"DisruptionTarget","status":"True",`,
				`"namespace":"pai-vc-red","name":"bob-x-worker-1"},"status"`,
			} {
				if strings.Contains(string(calls), want) != c.marks {
					t.Errorf("called\n%s\nwant %q: %t", calls, want, c.marks)
				}
			}
		})
	}
}
