package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/test/inspecttest"
)

// coveredHost has another file mounted over the configuration of the proxy.
type coveredHost struct {
	*inspecttest.Host
	covered bool
}

func (h *coveredHost) Run(ctx context.Context, c machine.Command) (machine.Output, error) {
	if strings.Contains(c.Script, "umount -l "+layout.APIProxyFile) {
		h.covered = false
	}
	return h.Host.Run(ctx, c)
}

func (h *coveredHost) WriteFile(ctx context.Context, path string, data []byte, mode fs.FileMode) error {
	if path == layout.APIProxyFile && h.covered {
		return &fs.PathError{Op: "rename", Path: path, Err: syscall.EBUSY}
	}
	return h.Host.WriteFile(ctx, path, data, mode)
}

// A replacement of the proxy that was killed leaves a mount over its configuration. The next
// step that writes it unmounts first.
func TestLeftMountDoesNotBlockTheProxy(t *testing.T) {
	t.Parallel()
	c := scripted(t)
	made := c.hosts["pai-2"]
	run, restarts := made.Script, errors.New("the test ends here")
	made.Script = func(ctx context.Context, cmd machine.Command) (string, error) {
		if strings.Contains(cmd.Script, "systemctl restart "+layout.Unit(plan.RoleAPIProxy)) {
			return "", restarts
		}
		return run(ctx, cmd)
	}
	h := &coveredHost{Host: made, covered: true}
	c.deps.Hosts["pai-2"] = h
	step := plan.Step{Kind: plan.KindRole, Role: plan.RoleAPIProxy, Target: "pai-2", To: pai.AnyVersion(comparedVersion)}
	if err := Doers(c.deps)[step.Kind].Do(t.Context(), step); !errors.Is(err, restarts) {
		t.Errorf("got %v, want the restart of the proxy", err)
	}
	h.covered = true
	cl := &cluster{Deps: c.deps}
	if err := cl.writeProxyConfig(t.Context(), h, c.deps.Config.ControlPlane(), &layout.SlotA); err != nil {
		t.Errorf("the drain of an API server: %v", err)
	}
}

// inMounts runs a script on the files of a machine, in a mount namespace.
func inMounts(t *testing.T, r *inspecttest.Root, script string) string {
	t.Helper()
	if err := exec.CommandContext(t.Context(), "unshare", "-Urm", "true").Run(); err != nil {
		t.Skipf("this host does not allow mount namespaces: %v", err)
	}
	text := ownPath.ReplaceAllString(script, "${1}"+string(r.Dir)+"/$2/")
	out, err := exec.CommandContext(t.Context(), "unshare", "-Urm", "sh", "-euc", text).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s\n%s", err, out, text)
	}
	return string(out)
}

// replacing is a machine in the middle of the replacement of its proxy.
func replacing(t *testing.T) (r *inspecttest.Root, mount string) {
	t.Helper()
	r = inspecttest.NewRoot(t)
	r.Write(layout.APIProxyFile, "configured")
	r.Write(releasedFile, "released")
	return r, fmt.Sprintf("mount --bind %s %s\n", releasedFile, layout.APIProxyFile)
}

func TestLeftMountIsUnmounted(t *testing.T) {
	t.Parallel()
	r, mount := replacing(t)
	const stub = "systemctl() { echo \"systemctl $*\"; }\n"
	const look = "\ncat " + layout.APIProxyFile
	stop := "systemctl stop -q " + layout.APIProxyReplaceUnit + "\n"
	if got := inMounts(t, r, stub+mount+unmountReleased+look); got != stop+"configured" {
		t.Errorf("got %q, want the replacement stopped and the file of the machine", got)
	}
	if got := inMounts(t, r, stub+unmountReleased+look); got != "configured" {
		t.Errorf("got %q without a mount, want nothing done", got)
	}
}

// The unit that replaces the proxy is the last that the machine kills, and cleans up if it is.
func TestReplacementOfTheProxyCleansUp(t *testing.T) {
	t.Parallel()
	h := inspecttest.NewHost(t, "pai-2")
	if err := releaseAndRestart(t.Context(), h, 6443, []byte("{}"), comparedVersion); err != nil {
		t.Fatal(err)
	}
	if len(h.Scripts) != 1 {
		t.Fatalf("got %q", h.Scripts)
	}
	for _, want := range []string{"--description='", "--property=OOMScoreAdjust=-999", "--property='ExecStopPost=-/bin/umount -ql " + layout.APIProxyFile + "'"} {
		if !strings.Contains(h.Scripts[0], want) {
			t.Errorf("got %q, want %s", h.Scripts[0], want)
		}
	}
	if out, err := exec.CommandContext(t.Context(), "sh", "-n", "-c", h.Scripts[0]).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
