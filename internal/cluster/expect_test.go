package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"strings"
	"testing"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/fingerprint"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
	"pai.dev/pai/test/inspecttest"
)

const comparedVersion = pai.KubernetesVersion("v0.10-pai")

// digestBundle has programs whose content is their path.
type digestBundle struct {
	BundleContent
	patched string
}

func (digestBundle) Digest() string { return "sha256:0" }
func (digestBundle) Manifest() release.Manifest {
	return release.Manifest{Kubernetes: release.KubernetesRow{Version: comparedVersion, Upstream: "v1.36.3"}}
}
func (digestBundle) Image(name string) string { return "pai.local/" + name + ":v1" }
func (b digestBundle) ProgramDigests(context.Context) (map[string]string, error) {
	digests := map[string]string{}
	for _, path := range bundlePrograms() {
		digests[path] = fingerprint.Of([]byte(path))
		if path == b.patched {
			digests[path] = fingerprint.Of([]byte("patched"))
		}
	}
	return digests, nil
}

func bundlePrograms() []string {
	paths := []string{"bin/kubeadm", "cni/bridge", "cni/portmap"}
	for _, r := range layout.Roles() {
		for _, p := range layout.ProgramsOf(r) {
			if !strings.HasSuffix(p, "/") {
				paths = append(paths, p)
			}
		}
	}
	return paths
}

// comparedCluster is a control-plane machine and a worker that run everything as
// PAI writes and starts it.
type comparedCluster struct {
	deps  Deps
	hosts map[string]*inspecttest.Host
}

func newComparedCluster(t *testing.T) *comparedCluster {
	t.Helper()
	cfg := testConfig()
	c := &comparedCluster{hosts: map[string]*inspecttest.Host{}, deps: Deps{Config: cfg, Bundle: digestBundle{}, Hosts: map[string]machine.Host{},
		Kubeadm: func(_ context.Context, _ []byte, script string) (string, error) {
			for _, manifest := range []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"} {
				if strings.Contains(script, "/"+manifest+".yaml") {
					return string(kubeadmSays(t, "v1.36.3", manifest+".yaml")), nil
				}
			}
			return string(kubeadmSays(t, "v1.36.3", "init-defaults.yaml")), nil
		}}}
	for _, m := range cfg.Layout.MachineList {
		h := inspecttest.NewHost(t, m.Hostname)
		c.hosts[m.Hostname], c.deps.Hosts[m.Hostname] = h, h
		c.boot(t, h, m)
	}
	return c
}

// boot writes and starts what a machine has.
func (c *comparedCluster) boot(t *testing.T, h *inspecttest.Host, m config.Machine) {
	t.Helper()
	prepared, err := preparedFiles(c.deps.Config)
	if err != nil {
		t.Fatal(err)
	}
	for path, f := range prepared {
		h.Write(path, f.content)
	}
	h.Write(layout.HostsFile, "127.0.0.1 localhost\n"+strings.Join(hostLines(c.deps.Config), " # pai\n")+" # pai\n")
	h.Units[layout.PrepareUnit] = inspecttest.Unit{State: "active"}
	h.Units[layout.CertificatesUnit] = inspecttest.Unit{State: "active"}
	digests, err := digestBundle{}.ProgramDigests(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for path := range programsOf(m, digests) {
		h.Write(layout.VersionDir(comparedVersion)+"/"+path, path)
	}
	h.Write(installedFile(comparedVersion), "{}")
	cl := &cluster{Deps: c.deps}
	for n, o := range unitTable {
		if o.controlPlane && !m.IsControlPlane() || o.role == plan.RoleEtcdB || o.role == plan.RoleAPIServerB {
			continue
		}
		files, err := cl.roleFiles(t.Context(), h, m, comparedVersion, o.role, renderOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := writeRole(t.Context(), h, comparedVersion, o.role, files); err != nil {
			t.Fatal(err)
		}
		c.start(h, o.role, 100+n, settings(comparedVersion, o.role, files).Digest())
	}
}

// start starts a role with settings in its environment, or none.
func (c *comparedCluster) start(h *inspecttest.Host, r plan.Role, pid int, digest string) {
	h.Link(layout.RoleLink(r), "../"+string(comparedVersion))
	h.Units[layout.Unit(r)] = inspecttest.Unit{State: "active", PID: pid}
	var environment []string
	if digest != "" {
		environment = []string{fingerprint.Variable + "=" + digest}
	}
	program := layout.VersionDir(comparedVersion) + "/" + layout.ProgramsOf(r)[0]
	h.Process(pid, program, nil, environment)
}

// world is what the machines have and run.
func (c *comparedCluster) world(t *testing.T) plan.World {
	t.Helper()
	w := plan.World{Current: pai.Pair{Kubernetes: comparedVersion}}
	for _, m := range c.deps.Config.Layout.MachineList {
		state, _, err := Observe(t.Context(), c.hosts[m.Hostname])
		if err != nil {
			t.Fatal(err)
		}
		state.Name, state.ControlPlane = m.Hostname, m.IsControlPlane()
		w.Machines = append(w.Machines, state)
	}
	return w
}

// differences lists what differs on each machine: the role, or "prepared" or
// "programs", behind the name of the machine.
func (c *comparedCluster) differences(t *testing.T) map[string]string {
	t.Helper()
	w := c.world(t)
	expected := map[string]plan.Expected{}
	if e, err := Expect(t.Context(), c.deps, w, comparedVersion, expected); err != nil || len(e.Unknown) > 0 {
		t.Fatal(err, e.Unknown)
	}
	found := map[string]string{}
	for _, m := range w.Machines {
		e := expected[m.Name]
		if m.PreparedAs != e.Prepared {
			found[m.Name+" prepared"] = "files"
		}
		v := e.Versions[comparedVersion]
		if m.ProgramDigests[comparedVersion] != v.Programs {
			found[m.Name+" programs"] = "programs"
		}
		for r, s := range m.Roles {
			switch want := v.Roles[r]; {
			case s.Programs != want.Programs:
				found[m.Name+" "+string(r)] = "programs"
			case !s.Matches(want) || want.Settings == "":
				found[m.Name+" "+string(r)] = "settings"
			}
		}
	}
	return found
}

// Both sides compute the same digests: the machine from files and processes, and
// paictl from the bundle and from what it would write.
func TestWhatPAIWritesAsExpected(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(t *testing.T, c *comparedCluster)
		want   map[string]string
	}{
		{"nothing", func(*testing.T, *comparedCluster) {}, nil},
		{"a patched runc", func(_ *testing.T, c *comparedCluster) { c.deps.Bundle = digestBundle{patched: "bin/runc"} },
			map[string]string{"pai-1 programs": "programs", "pai-2 programs": "programs", "pai-1 containerd": "programs", "pai-2 containerd": "programs"}},
		{"a patched kubeadm, which no worker has", func(_ *testing.T, c *comparedCluster) { c.deps.Bundle = digestBundle{patched: "bin/kubeadm"} },
			map[string]string{"pai-1 programs": "programs"}},
		{"another address of a machine", func(_ *testing.T, c *comparedCluster) { c.deps.Config.Layout.MachineList[1].HostIP = "10.9.0.99" },
			map[string]string{"pai-1 prepared": "files", "pai-2 prepared": "files", "pai-2 kubelet": "settings", "pai-2 network": "settings"}},
		{"another range of node ports", func(_ *testing.T, c *comparedCluster) { c.deps.Config.Kubernetes.ServiceNodePortRange = "30000-30100" },
			map[string]string{"pai-1 apiserver-a": "settings"}},
		{"networks of tasks, which v0.10 does not keep apart", func(_ *testing.T, c *comparedCluster) {
			c.deps.Config.Kubernetes.TaskNetworks = []string{"10.0.0.0/8"}
		}, nil},
		{"another port of the API", func(_ *testing.T, c *comparedCluster) { c.deps.Config.Kubernetes.APIServersPort = 7443 },
			map[string]string{"pai-1 api-proxy": "settings", "pai-2 api-proxy": "settings"}},
		{"a server that the proxy drains", func(t *testing.T, c *comparedCluster) {
			draining, err := proxyFile(c.deps.Config, c.deps.Config.ControlPlane(), &layout.SlotA)
			if err != nil {
				t.Fatal(err)
			}
			c.hosts["pai-1"].Write(layout.APIProxyFile, string(draining))
		}, nil},
		{"a file that was edited on the machine", func(_ *testing.T, c *comparedCluster) {
			c.hosts["pai-2"].Write(layout.VersionFile(comparedVersion, layout.KubeletConfigName), "maxPods: 1\n")
		}, map[string]string{"pai-2 kubelet": "settings"}},
		{"a unit that was edited on the machine", func(_ *testing.T, c *comparedCluster) {
			c.hosts["pai-1"].Write(layout.UnitFile(plan.RoleScheduler), "[Unit]\n")
		}, map[string]string{"pai-1 scheduler": "settings"}},
		{"an older process", func(_ *testing.T, c *comparedCluster) { c.start(c.hosts["pai-2"], plan.RoleKubeProxy, 999, "other") },
			map[string]string{"pai-2 kube-proxy": "settings"}},
		{"a process of PAI v0.10, and files of this one", func(_ *testing.T, c *comparedCluster) { c.start(c.hosts["pai-2"], plan.RoleKubeProxy, 999, "") },
			map[string]string{"pai-2 kube-proxy": "settings"}},
		{"a process and a script of PAI v0.10", func(t *testing.T, c *comparedCluster) {
			h, script := c.hosts["pai-2"], layout.RunScript(comparedVersion, plan.RoleKubeProxy)
			written, err := os.ReadFile(h.At(script))
			if err != nil {
				t.Fatal(err)
			}
			h.Write(script, fingerprint.Unmark(string(written)))
			c.start(h, plan.RoleKubeProxy, 999, "")
		}, nil},
		{"no names of machines", func(_ *testing.T, c *comparedCluster) { c.hosts["pai-2"].Write(layout.HostsFile, "") },
			map[string]string{"pai-2 prepared": "files"}},
		{"another file in the place of a program", func(_ *testing.T, c *comparedCluster) {
			c.hosts["pai-2"].Write(layout.Program(comparedVersion, "runc"), "mine")
		}, map[string]string{"pai-2 programs": "programs", "pai-2 containerd": "programs"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newComparedCluster(t)
			tt.change(t, c)
			if got := c.differences(t); !maps.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// A version is installed only if its very programs are: those of another build
// with the same name do not say how this one is started.
func TestInstalled(t *testing.T) {
	t.Parallel()
	c := newComparedCluster(t)
	for _, tt := range []struct {
		patched string
		want    bool
	}{{"", true}, {"bin/runc", false}, {"bin/kubeadm", false}} { // no worker has kubeadm
		c.deps.Bundle = digestBundle{patched: tt.patched}
		if got, err := Installed(t.Context(), c.deps, c.world(t), comparedVersion); err != nil || got != tt.want {
			t.Errorf("patched %q: got %v, %v; want %v", tt.patched, got, err, tt.want)
		}
	}
}

// Steps that were done for the same content count as done before the programs of
// another build are copied.
func TestContentBeforeTheProgramsAreCopied(t *testing.T) {
	t.Parallel()
	c := newComparedCluster(t)
	c.deps.Kubeadm = nil
	h := c.hosts["pai-1"]
	if i, err := (&cluster{Deps: c.deps}).content(t.Context(), h, "v0.10-pai+0123456789ab"); err != nil || i.Upstream != "v1.36.3" {
		t.Errorf("got %+v, %v; want the content of the bundle", i, err)
	}
	c.deps.Bundle = nil
	if _, err := (&cluster{Deps: c.deps}).content(t.Context(), h, "v0.10-pai+0123456789ab"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a bundle: got %v, want fs.ErrNotExist", err)
	}
}

func TestDiffOfPrograms(t *testing.T) {
	t.Parallel()
	c := newComparedCluster(t)
	c.deps.Bundle = digestBundle{patched: "cni/bridge"}
	step := plan.Step{Kind: plan.KindRole, Target: "pai-2", Role: plan.RoleRuntime, From: "v0.10-pai", To: "v0.10-pai+0123", Differs: []string{plan.DiffersPrograms}}
	got, err := Doers(c.deps)[plan.KindRole].(plan.Differ).Diff(t.Context(), step)
	if err != nil || len(got) != 1 || got[0].What != "program cni/bridge" || got[0].Fields[0].New != fingerprint.Of([]byte("patched")) {
		t.Errorf("got %+v, %v; want only the patched program", got, err)
	}
}

// The script, the units, and the files that a machine is prepared with show what
// changes in them.
func TestDiffOfPreparedFiles(t *testing.T) {
	t.Parallel()
	c := newComparedCluster(t)
	c.hosts["pai-2"].Write(layout.PrepareScript, "#!/bin/sh\n")
	if err := os.Remove(c.hosts["pai-2"].At(layout.ShutdownScript)); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	got, err := Doers(c.deps)[plan.KindPrepare].(plan.Differ).Diff(t.Context(), plan.Step{Kind: plan.KindPrepare, Target: "pai-2"})
	if err != nil || len(got) != 2 {
		t.Fatalf("got %+v, %v; want two files", got, err)
	}
	for n, want := range []plan.StepDiff{{What: "file " + layout.PrepareScript, Action: plan.Changed}, {What: "file " + layout.ShutdownScript, Action: plan.Created}} {
		if got[n].What != want.What || got[n].Action != want.Action {
			t.Errorf("got %s %s, want %s %s", got[n].What, got[n].Action, want.What, want.Action)
		}
	}
}

// A worker that cannot be asked is unknown and keeps nothing from being compared.
// Without the control plane there is nothing to compare with.
func TestExpectWithoutAnswers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		silent string
		fails  bool
	}{{"pai-2", false}, {"pai-1", true}} {
		c := newComparedCluster(t)
		w := c.world(t)
		c.deps.Hosts[tt.silent] = silentHost{c.hosts[tt.silent]}
		expected := map[string]plan.Expected{}
		e, err := Expect(t.Context(), c.deps, w, comparedVersion, expected)
		if tt.fails != (err != nil) {
			t.Errorf("without %s: got %v, want an error: %v", tt.silent, err, tt.fails)
			continue
		}
		if _, known := expected["pai-1"]; !tt.fails && (!known || e.Unknown["pai-2"] == nil || !strings.Contains(e.Unknown["pai-2"].Error(), "connection lost")) {
			t.Errorf("without %s: got %v unknown, and %d machines known", tt.silent, e.Unknown, len(expected))
		}
	}
}

// silentHost is a machine that answers nothing.
type silentHost struct{ *inspecttest.Host }

func (silentHost) Run(context.Context, machine.Command) (machine.Output, error) {
	return machine.Output{}, errors.New("connection lost")
}

// A step compares a role with the programs on the machine: the bundle of an older
// version can be another build by now, or be replaced while the step runs.
func TestAStepNeedsNoBundleToSeeItsResult(t *testing.T) {
	t.Parallel()
	c := newComparedCluster(t)
	c.deps.Bundle = unreadableBundle{}
	h, m := c.hosts["pai-2"], c.deps.Config.Workers()[0]
	step := plan.Step{Kind: plan.KindRole, Target: "pai-2", Role: plan.RoleNetwork, To: pai.AnyVersion(comparedVersion)}
	fulfilled := func() bool {
		state, err := roleState(t.Context(), h, step.Role)
		if err != nil {
			t.Fatal(err)
		}
		ok, err := (&cluster{Deps: c.deps}).fulfilled(t.Context(), h, m, step, step.Role, state)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if !fulfilled() {
		t.Error("a role that runs what is on the machine is not as the step leaves it")
	}
	replaced := layout.Program(comparedVersion, "network") + " (deleted)"
	h.Write(replaced, "another program")
	h.Link(fmt.Sprintf("/proc/%d/exe", h.Units[layout.Unit(step.Role)].PID), replaced)
	if fulfilled() {
		t.Error("a role that runs another program is as the step leaves it")
	}
}

type unreadableBundle struct{ digestBundle }

func (unreadableBundle) ProgramDigests(context.Context) (map[string]string, error) {
	return nil, errors.New("blob is missing")
}
