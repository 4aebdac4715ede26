package cluster

import (
	"context"
	"errors"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/fingerprint"
	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/test/inspecttest"
)

// upgrading is a machine in the middle of an upgrade.
func upgrading(t *testing.T) *inspecttest.Host {
	t.Helper()
	r := inspecttest.NewRoot(t)
	for _, version := range []string{"v0.9-pai", "v0.10-pai"} {
		r.Write(layout.VersionDir(version)+"/release.json", "{}")
		r.Write(layout.Program(version, "kubelet"), "kubelet of "+version)
	}
	r.Write(layout.VersionDir("v0.11-pai.new")+"/bin/kubelet", "half a copy")
	r.Link(layout.RoleLink("etcd-a"), "../v0.9-pai")
	r.Link(layout.RoleLink("kubelet"), "../v0.10-pai")
	r.Link(layout.RoleLink("apiserver-a"), "../v0.10-pai")
	r.Link(layout.RoleLink("apiserver-b"), "../v0.10-pai")
	r.Write(layout.RunScript("v0.10-pai", layout.RoleAPIServerA), "exec kube-apiserver \\\n  --emulated-version=1.34 \\\n  --x=y\n")
	for role, program := range map[plan.Role]string{
		"etcd-a":      "/opt/pai/v0.9-pai/bin/etcd",
		"kubelet":     "/opt/pai/v0.9-pai/bin/kubelet (deleted)",
		"containerd":  "/usr/bin/containerd",
		"apiserver-b": "/opt/pai/v0.10-pai/bin/kube-apiserver",
	} {
		pid := 100 + len(r.Units)
		r.Write(layout.UnitsDir+"/"+layout.Unit(role), "[Unit]\n")
		r.Units[layout.Unit(role)] = inspecttest.Unit{State: "active", PID: pid}
		r.Process(pid, program, []string{"--emulated-version=" + map[plan.Role]string{"apiserver-b": "1.35"}[role]}, nil)
	}
	r.Write(layout.UnitsDir+"/"+layout.Unit("scheduler"), "[Unit]\n")
	r.Write(layout.UnitsDir+"/"+layout.PrepareUnit, "[Unit]\n")
	r.Units[layout.PrepareUnit] = inspecttest.Unit{State: "active"}
	for _, file := range []string{layout.KubeletConf, layout.KubeletClientCertificate, layout.KubeletServingCertificate} {
		r.Write(file, "")
	}
	r.Write(layout.ImagesDir+"/sha256-abc", `{"images":{"pai.local/pause:v1":"sha256:aaa"}}`)
	r.Write(layout.ImagesDir+"/sha256-def", `{"images":{"pai.local/pause:v1":"sha256:other"}}`)
	r.Write(layout.ImagesDir+"/sha256-bad", `{"images":`)
	r.Programs[layout.Ctr+" images ls"] = "REF TYPE DIGEST SIZE\npai.local/pause:v1 application/x sha256:aaa 1.0 MiB\n"
	return &inspecttest.Host{Root: r, Hostname: "pai-1"}
}

func TestObserve(t *testing.T) {
	t.Parallel()
	m, _, err := Observe(t.Context(), upgrading(t))
	if err != nil {
		t.Fatal(err)
	}
	want := map[plan.Role]plan.RoleState{
		"etcd-a": {Link: "v0.9-pai", Running: "v0.9-pai"}, "kubelet": {Link: "v0.10-pai", Running: "v0.9-pai"}, "containerd": {},
		"apiserver-a": {Link: "v0.10-pai", Emulates: "1.34"},
		"apiserver-b": {Link: "v0.10-pai", Running: "v0.10-pai", Emulates: "1.35"},
	}
	if !maps.Equal(withoutDigests(m.Roles), want) {
		t.Errorf("got roles %v, want %v", m.Roles, want)
	}
	if got := m.Roles["kubelet"].Programs; got != "" {
		t.Errorf("got the digest %s of a running program that cannot be read", got)
	}
	digest := fingerprint.Directory(map[string]string{"bin/kubelet": fingerprint.Of([]byte("kubelet of v0.9-pai"))})
	if got := m.ProgramDigests["v0.9-pai"]; got != digest || len(m.ProgramDigests) != 2 {
		t.Errorf("got the digest %s of v0.9-pai of %d, want %s of 2", got, len(m.ProgramDigests), digest)
	}
	if want := []pai.KubernetesVersion{"v0.10-pai", "v0.9-pai"}; !slices.Equal(m.Programs, want) {
		t.Errorf("got programs %v, want %v", m.Programs, want)
	}
	if !m.Prepared || !m.Joined || !slices.Equal(m.Images, []string{"sha256:abc"}) {
		t.Errorf("got prepared %v, joined %v, images %v", m.Prepared, m.Joined, m.Images)
	}
}

func TestObserveNamesForeignFiles(t *testing.T) {
	t.Parallel()
	h := upgrading(t)
	if m, _, err := Observe(t.Context(), h); err != nil || m.Foreign == nil || len(m.Foreign) > 0 {
		t.Errorf("got foreign files %#v, %v, want none", m.Foreign, err)
	}
	h.Write(layout.ConfigDir+"/notes.txt", "")
	if m, _, err := Observe(t.Context(), h); err != nil || !slices.Equal(m.Foreign, []string{"/etc/pai/notes.txt"}) {
		t.Errorf("got foreign files %q, %v, want the notes", m.Foreign, err)
	}
	if m, _, err := Observe(t.Context(), &unknownPart{Host: h, part: inspect.Foreign}); err != nil || m.Foreign != nil {
		t.Errorf("got foreign files %q, %v, want unknown ones", m.Foreign, err)
	}
}

func withoutDigests(roles map[plan.Role]plan.RoleState) map[plan.Role]plan.RoleState {
	bare := map[plan.Role]plan.RoleState{}
	for r, s := range roles {
		s.Digests = plan.Digests{}
		bare[r] = s
	}
	return bare
}

func TestObserveEmptyMachine(t *testing.T) {
	t.Parallel()
	m, _, err := Observe(t.Context(), inspecttest.NewHost(t, "pai-1"))
	if err != nil || m.Prepared || m.Joined || len(m.Roles)+len(m.Programs)+len(m.Images) > 0 {
		t.Errorf("got %+v, %v, want an empty machine", m, err)
	}
}

func TestObserveWithoutContainerdHasNoImages(t *testing.T) {
	t.Parallel()
	h := upgrading(t)
	delete(h.Programs, layout.Ctr+" images ls")
	if m, _, err := Observe(t.Context(), h); err != nil || len(m.Images) > 0 || !m.Prepared {
		t.Errorf("got %+v, %v, want a machine without images", m, err)
	}
}

func TestObserveFailsWhenAPartIsUnknown(t *testing.T) {
	t.Parallel()
	for _, p := range []inspect.Part{inspect.Programs, inspect.Roles, inspect.Prepared} {
		h := &unknownPart{Host: upgrading(t), part: p}
		if m, _, err := Observe(t.Context(), h); err == nil || !strings.Contains(err.Error(), "pai-1") || !strings.Contains(err.Error(), "disk on fire") {
			t.Errorf("%s: got %+v, %v, want an error with the machine and the cause", p, m, err)
		}
	}
}

// unknownPart is a machine that cannot read a part.
type unknownPart struct {
	*inspecttest.Host
	part inspect.Part
}

func (h *unknownPart) Run(ctx context.Context, c machine.Command) (machine.Output, error) {
	_, err := inspecttest.AnswerWith(c, func(r inspect.Request) inspect.Report {
		report := h.Machine().Inspect(ctx, r, "")
		report.Problems[string(h.part)] = "disk on fire"
		return report
	})
	return machine.Output{}, err
}

func TestRoleState(t *testing.T) {
	t.Parallel()
	h := upgrading(t)
	for role, want := range map[plan.Role]plan.RoleState{
		"kubelet":            {Link: "v0.10-pai", Running: "v0.9-pai"},
		"apiserver-a":        {Link: "v0.10-pai", Emulates: "1.34"},
		"apiserver-b":        {Link: "v0.10-pai", Running: "v0.10-pai", Emulates: "1.35"},
		"controller-manager": {},
	} {
		if got, err := roleState(t.Context(), h, role); err != nil || withoutDigests(map[plan.Role]plan.RoleState{role: got})[role] != want {
			t.Errorf("%s: got %v, %v, want %v", role, got, err, want)
		}
	}
	gone := errors.New("connection lost")
	lost := &lostHost{err: gone}
	if _, err := roleState(t.Context(), lost, "kubelet"); !errors.Is(err, gone) || !strings.Contains(err.Error(), "pai-2") {
		t.Errorf("got %v, want an error with the machine and the cause", err)
	}
}

type lostHost struct {
	machine.Host
	err error
}

func (h *lostHost) Name() string { return "pai-2" }
func (h *lostHost) Run(context.Context, machine.Command) (machine.Output, error) {
	return machine.Output{}, h.err
}

func TestReadFacts(t *testing.T) {
	t.Parallel()
	h := inspecttest.NewHost(t, "pai-1")
	if got, err := readFacts(t.Context(), h); err != nil || got != (facts{MemoryMiB: 1024, Cores: runtime.NumCPU()}) {
		t.Errorf("got %+v, %v, want cgroup v2 without a resolver", got, err)
	}
	h.Write("/proc/1/status", "CapEff:\tnone\n")
	if got, err := readFacts(t.Context(), h); err == nil {
		t.Errorf("got %+v for unreadable capabilities, want an error", got)
	}
}
