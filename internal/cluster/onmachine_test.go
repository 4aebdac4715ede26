package cluster

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/test/inspecttest"
)

// scripted is a compared cluster whose machines run their scripts.
func scripted(t *testing.T) *comparedCluster {
	t.Helper()
	c := newComparedCluster(t)
	for _, h := range c.hosts {
		healthServer(t, h)
		shell(t, h)
		h.Write(layout.Program(comparedVersion, "kubeadm"), "#!/bin/sh\necho 'kind: Config'\n")
	}
	c.hosts["pai-1"].Write(layout.PKIDir+"/ca.crt", "the authority")
	said := c.deps.Kubeadm
	c.deps.Kubeadm = func(ctx context.Context, config []byte, script string) (string, error) {
		if strings.Contains(script, "kubeconfig user") {
			return "kind: Config", nil
		}
		return said(ctx, config, script)
	}
	return c
}

func TestRoleStepStartsAStoppedRole(t *testing.T) {
	t.Parallel()
	for _, r := range []plan.Role{plan.RoleScheduler, plan.RoleControllerManager, plan.RoleKubeProxy, plan.RoleNetwork} {
		t.Run(string(r), func(t *testing.T) {
			t.Parallel()
			c := scripted(t)
			h := c.hosts["pai-1"]
			h.Units[layout.Unit(r)] = inspecttest.Unit{State: "inactive"}
			for _, path := range []string{layout.RoleLink(r), layout.RunScript(comparedVersion, r)} {
				if err := os.Remove(h.At(path)); err != nil {
					t.Fatal(err)
				}
			}
			doStep(t, c.deps, plan.Step{Kind: plan.KindRole, Role: r, Target: "pai-1", To: pai.AnyVersion(comparedVersion)})
			if !h.Ran("SYSTEMD_OFFLINE=1 systemctl enable -q " + layout.Unit(r)) {
				t.Errorf("got no enabled unit, want it to start after a reboot")
			}
			access := map[plan.Role]string{plan.RoleKubeProxy: layout.KubeProxyConf, plan.RoleNetwork: layout.NetworkConf}[r]
			if access == "" {
				return
			}
			if data, err := os.ReadFile(h.At(access)); err != nil || strings.TrimSpace(string(data)) != "kind: Config" {
				t.Errorf("got %q, %v as API access", data, err)
			}
			if info, err := os.Stat(h.At(access)); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("got API access with mode %v, %v, want 0600", info.Mode(), err)
			}
		})
	}
}

func TestRoleStepReplacesChangedSettings(t *testing.T) {
	t.Parallel()
	c := scripted(t)
	c.start(c.hosts["pai-1"], plan.RoleScheduler, 150, "0123")
	doStep(t, c.deps, plan.Step{Kind: plan.KindRole, Role: plan.RoleScheduler, Target: "pai-1", To: pai.AnyVersion(comparedVersion)})
	for _, r := range layout.Roles() {
		if restarted := c.hosts["pai-1"].Ran("systemctl restart " + layout.Unit(r)); restarted != (r == plan.RoleScheduler) {
			t.Errorf("%s: got restarted %v", r, restarted)
		}
	}
}

func TestProxyGetsAuthorityAndBackends(t *testing.T) {
	t.Parallel()
	c := scripted(t)
	worker := c.hosts["pai-2"]
	cl := &cluster{Deps: c.deps}
	if err := cl.roleNeeds(t.Context(), worker, plan.Step{Role: plan.RoleAPIProxy, To: pai.AnyVersion(comparedVersion)}); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{layout.CAFile: "the authority", layout.PKIDir + "/ca.crt": "the authority", layout.APIProxyFile: "10.9.0.11:6443"} {
		if data, err := os.ReadFile(worker.At(path)); err != nil || !strings.Contains(string(data), want) {
			t.Errorf("%s: got %q, %v, want %s", path, data, err, want)
		}
	}
	if err := os.Remove(c.hosts["pai-1"].At(layout.PKIDir + "/ca.crt")); err != nil {
		t.Fatal(err)
	}
	if err := cl.copyCA(t.Context(), worker); err == nil {
		t.Error("got no error without an authority")
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	c := scripted(t)
	m := c.deps.Config.ControlPlane()
	for _, r := range []plan.Role{plan.RoleControllerManager, plan.RoleScheduler, plan.RoleKubeProxy, plan.RoleKubelet, plan.RoleNetwork} {
		if err := Health(t.Context(), c.deps, m, r); err != nil {
			t.Errorf("%s: got %v, want a healthy role", r, err)
		}
	}
	c.hosts["pai-1"].Dialer = nil
	for _, r := range []plan.Role{plan.RoleScheduler, plan.RoleKubeProxy, plan.RoleKubelet, plan.RoleAPIProxy, plan.RoleRuntime, plan.RoleAPIServerA, plan.RoleEtcdA, "unknown"} {
		if err := Health(t.Context(), c.deps, m, r); err == nil {
			t.Errorf("%s: got a healthy role where nothing listens", r)
		}
	}
	delete(c.deps.Hosts, "pai-1")
	if err := Health(t.Context(), c.deps, m, plan.RoleKubelet); err == nil || !strings.Contains(err.Error(), "unreachable") {
		t.Errorf("got %v, want an unreachable machine", err)
	}
}

// imageBundle has one image.
type imageBundle struct{ digestBundle }

func (imageBundle) ImageNames() []string { return []string{"pause"} }
func (imageBundle) WriteImages(_ context.Context, w io.Writer, _ ...string) error {
	_, err := io.WriteString(w, "images")
	return err
}

func TestImagesAreImportedAndRecorded(t *testing.T) {
	t.Parallel()
	c := scripted(t)
	c.deps.Bundle = imageBundle{}
	h := c.hosts["pai-1"]
	h.Programs[layout.Ctr+" images ls"] = ""
	listed := "pai.local/pause:v1 application/x sha256:aaa 1.0 MiB\n"
	h.Script = func(_ context.Context, cmd machine.Command) (string, error) {
		if data, err := io.ReadAll(cmd.Stdin); err != nil || string(data) != "images" || !strings.Contains(cmd.Script, "images import") {
			t.Errorf("got %s with %q, %v, want an import", cmd.Script, data, err)
		}
		h.Programs[layout.Ctr+" images ls"] = listed
		return "", nil
	}
	step := plan.Step{Kind: plan.KindImages, Target: "pai-1", To: pai.AnyVersion(comparedVersion)}
	doStep(t, c.deps, step)
	if state, _, err := Observe(t.Context(), h); err != nil || !slices.Equal(state.Images, []string{"sha256:0"}) {
		t.Errorf("got images %v, %v, want those of the bundle", state.Images, err)
	}
	h.Programs[layout.Ctr+" images ls"] = strings.Replace(listed, "aaa", "bbb", 1)
	if done, err := Doers(c.deps)[plan.KindImages].Done(t.Context(), step); done || err != nil {
		t.Errorf("got done %v, %v with an image that was replaced, want false", done, err)
	}
	listed = ""
	if err := Doers(c.deps)[plan.KindImages].Do(t.Context(), step); err == nil || !strings.Contains(err.Error(), "pai.local/pause:v1") {
		t.Errorf("got %v, want the image that containerd does not list", err)
	}
	c.deps.Bundle = nil
	if _, err := Doers(c.deps)[plan.KindImages].Done(t.Context(), step); err == nil {
		t.Error("got no error without a bundle")
	}
}

func TestKubeletReplacementReportsEndedContainers(t *testing.T) {
	t.Parallel()
	c := scripted(t)
	h := c.hosts["pai-2"]
	h.Write("/proc/sys/kernel/random/boot_id", "boot\n")
	for n, id := range []string{"c1", "c2"} {
		h.Write(layout.ContainerdTasks+"/k8s.io/"+id+"/init.pid", fmt.Sprint(300+n))
		h.Write(fmt.Sprintf("/proc/%d/cgroup", 300+n), "0::/kubepods/"+id+"\n")
	}
	h.Script = func(_ context.Context, cmd machine.Command) (string, error) {
		if strings.Contains(cmd.Script, "systemd-run") {
			return "", os.RemoveAll(h.At("/proc/301"))
		}
		return "", nil
	}
	var said []string
	c.deps.Progress = func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
	if err := (&cluster{Deps: c.deps}).replaceKubelet(t.Context(), h, comparedVersion); err != nil {
		t.Fatal(err)
	}
	if len(said) != 1 || !strings.Contains(said[0], "container c2 on pai-2 ended") {
		t.Errorf("got %q, want only the container that ended", said)
	}
	// A file system that is mounted with noexec runs no script itself.
	if !h.Ran("/bin/sh " + layout.StateDir + "/swap-kubelet.sh " + machine.Quote(string(comparedVersion))) {
		t.Errorf("got scripts %q, want the shell to run the script", h.Scripts)
	}
	if info, err := os.Stat(h.At(layout.StateDir + "/swap-kubelet.sh")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("got %v, %v, want the script on the machine", info, err)
	}
}

func TestProgramsStep(t *testing.T) {
	t.Parallel()
	c := scripted(t)
	next := pai.AnyVersion("v0.11-pai")
	step := plan.Step{Kind: plan.KindPrograms, Target: "pai-1", To: next}
	doer := Doers(c.deps)[plan.KindPrograms]
	if err := doer.Do(t.Context(), step); err == nil {
		t.Error("got no error for a bundle of another version")
	}
	if done, err := doer.Done(t.Context(), step); done || err != nil {
		t.Errorf("got done %v, %v, want false", done, err)
	}
	step.To = pai.AnyVersion(comparedVersion)
	if done, err := doer.Done(t.Context(), step); !done || err != nil {
		t.Errorf("got done %v, %v for programs that are there, want true", done, err)
	}
}

func TestSlotsWithData(t *testing.T) {
	t.Parallel()
	c := scripted(t)
	h := c.hosts["pai-1"]
	for _, want := range [][]layout.Slot{nil, {layout.SlotB}, {layout.SlotA, layout.SlotB}} {
		for _, s := range want {
			h.Write(s.EtcdData()+"/member/x", "")
		}
		if got, err := slotsWithData(t.Context(), h); err != nil || !slices.Equal(got, want) {
			t.Errorf("got %v, %v, want %v", got, err, want)
		}
	}
	if got, err := restoredSlot(t.Context(), h); got != nil || err != nil {
		t.Errorf("got %v, %v, want no restored slot", got, err)
	}
	h.Write(layout.SlotB.EtcdEnv(), "ETCD_NAME=x\n"+restoredFrom+"=y.db\n")
	if got, err := restoredSlot(t.Context(), h); err != nil || got == nil || *got != layout.SlotB {
		t.Errorf("got %v, %v, want slot b", got, err)
	}
}

func TestPKIIsDoneWithAllFiles(t *testing.T) {
	t.Parallel()
	c := scripted(t)
	h := c.hosts["pai-1"]
	step := plan.Step{Kind: plan.KindPKI, Target: "pai-1", To: pai.AnyVersion(comparedVersion)}
	done := func() bool {
		t.Helper()
		ok, err := Doers(c.deps)[plan.KindPKI].Done(t.Context(), step)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if done() {
		t.Error("got done without files")
	}
	for _, file := range pkiFiles() {
		h.Write(file, "x")
	}
	if done() {
		t.Error("got done with a certificate that cannot be read")
	}
}

func TestIdentityOfAKubelet(t *testing.T) {
	t.Parallel()
	c := scripted(t)
	h := c.hosts["pai-2"]
	kubeconfig, err := bootstrapKubeconfig("https://api.pai.internal:6443", []byte("the authority"), "a.b")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []struct {
		write, content, ca string
		want               bool
	}{
		{layout.KubeletConf, string(kubeconfig), "the authority", false}, // no certificate yet
		{layout.KubeletClientCertificate, "x", "the authority", true},
		{layout.KubeletClientCertificate, "x", "another authority", false},
		{layout.KubeletConf, "\t", "the authority", false},
	} {
		h.Write(s.write, s.content)
		if got, err := hasIdentity(t.Context(), h, []byte(s.ca)); err != nil || got != s.want {
			t.Errorf("%s with %s: got %v, %v, want %v", s.write, s.ca, got, err, s.want)
		}
	}
	// One that has ended is none, whatever authority it has.
	h.Write(layout.KubeletConf, string(kubeconfig))
	for left, want := range map[time.Duration]bool{time.Hour: true, -time.Minute: false} {
		until := time.Now().Add(left)
		identity, _, _ := signFor(t, &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: until.Add(-2 * time.Hour), NotAfter: until}, nil)
		h.Write(layout.KubeletClientCertificate, string(identity))
		if got, err := hasIdentity(t.Context(), h, []byte("the authority")); err != nil || got != want {
			t.Errorf("an identity that ends in %s: got %v, %v, want %v", left, got, err, want)
		}
	}
	for _, want := range []bool{false, true} {
		if got, err := hasServingCertificate(t.Context(), h); err != nil || got != want {
			t.Errorf("got serving certificate %v, %v, want %v", got, err, want)
		}
		h.Write(layout.KubeletServingCertificate, "x")
	}
}

func TestJoinTokenIsRevoked(t *testing.T) {
	t.Parallel()
	c := scripted(t)
	h := c.hosts["pai-1"]
	h.Write(layout.Program(comparedVersion, "kubeadm"), "#!/bin/sh\ncase \"$*\" in *create*) echo abc.secret ;; esac\n")
	token, revoke, err := (&cluster{Deps: c.deps}).joinToken(t.Context(), comparedVersion)
	if err != nil || token != "abc.secret" {
		t.Fatalf("got %q, %v", token, err)
	}
	if err := revoke(); err != nil || !h.Ran("token delete abc") || h.Ran("secret") {
		t.Errorf("got %v and scripts %q, want the token revoked by its ID", err, h.Scripts)
	}
	h.Write(layout.Program(comparedVersion, "kubeadm"), "#!/bin/sh\n")
	if token, _, err := (&cluster{Deps: c.deps}).joinToken(t.Context(), comparedVersion); err == nil {
		t.Errorf("got token %q from a kubeadm that prints none", token)
	}
}

func TestAllMachinesHaveAResolver(t *testing.T) {
	t.Parallel()
	c := scripted(t)
	for _, s := range []struct {
		on   string
		want bool
	}{{"pai-1", false}, {"pai-2", true}} {
		c.hosts[s.on].Write(layout.ResolverFile, "nameserver 10.0.0.1\n")
		if got, err := (&cluster{Deps: c.deps}).allHaveResolver(t.Context(), machineChange{}); err != nil || got != s.want {
			t.Errorf("with a resolver on %s as well: got %v, %v, want %v", s.on, got, err, s.want)
		}
	}
	delete(c.deps.Hosts, "pai-2")
	if got, err := (&cluster{Deps: c.deps}).allHaveResolver(t.Context(), machineChange{}); err != nil || !got {
		t.Errorf("got %v, %v with an unreachable machine, want the answer of the others", got, err)
	}
}

func TestFilesOfAStep(t *testing.T) {
	t.Parallel()
	c := scripted(t)
	for kind, s := range map[plan.Kind]plan.Step{
		plan.KindRole: {Kind: plan.KindRole, Role: plan.RoleRuntime}, plan.KindKubelet: {Kind: plan.KindKubelet},
	} {
		s.Target, s.To = "pai-1", pai.AnyVersion(comparedVersion)
		files, err := Files(t.Context(), c.deps, s)
		if err != nil || len(files) != 3 {
			t.Errorf("%s: got %d files, %v, want a script, a configuration, and a unit", kind, len(files), err)
		}
	}
	if files, err := Files(t.Context(), c.deps, plan.Step{Kind: plan.KindPKI, Target: "pai-1"}); err != nil || files != nil {
		t.Errorf("got %v, %v for a step that moves no role, want none", files, err)
	}
}

func TestSnapshotFreshness(t *testing.T) {
	t.Parallel()
	c := scripted(t)
	h := c.hosts["pai-1"]
	step := plan.Step{ID: "x/snapshot", Kind: plan.KindSnapshot, Target: "pai-1", From: "v0.9-pai", To: pai.AnyVersion(comparedVersion)}
	cl := &cluster{Deps: c.deps}
	for _, want := range []bool{false, true} {
		if got, err := cl.snapshotDone(t.Context(), h, c.deps.Config.ControlPlane(), step); err != nil || got != want {
			t.Errorf("got done %v, %v, want %v", got, err, want)
		}
		h.Write(snapshotFile(step), "data")
	}
	names, err := Snapshots(t.Context(), h)
	if err != nil || len(names) != 1 {
		t.Errorf("got snapshots %v, %v, want one", names, err)
	}
	back := plan.Step{From: step.To, To: step.From}
	if got, err := snapshotToRestore(t.Context(), h, back); err != nil || got != snapshotFile(step) {
		t.Errorf("got %s, %v, want the snapshot of the hop", got, err)
	}
	if err := cl.snapshotAtRest(t.Context(), h, step); err == nil || !strings.Contains(err.Error(), "0 of its two slots") {
		t.Errorf("got %v without data, want an error", err)
	}
}
