package inspect_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"math/big"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/fingerprint"
	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/test/inspecttest"
)

func all() []inspect.Part {
	return []inspect.Part{inspect.Programs, inspect.Roles, inspect.Prepared, inspect.Images, inspect.Facts, inspect.Foreign}
}

func ask(t *testing.T, r *inspecttest.Root, parts ...inspect.Part) inspect.Report {
	t.Helper()
	return r.Machine().Inspect(t.Context(), inspect.Request{Parts: parts}, "self")
}

func of(content string) string { return fingerprint.Of([]byte(content)) }

func TestProgramsAreDigested(t *testing.T) {
	t.Parallel()
	r := inspecttest.NewRoot(t)
	dir := layout.VersionDir("v0.9-pai")
	for name, content := range map[string]string{"release.json": "{}", "bin/runc": "runc", "cni/bridge": "bridge", "run/etcd-a": "script", "etc/kubelet.yaml": "settings"} {
		r.Write(dir+"/"+name, content)
	}
	r.Link(dir+"/bin/link", "/nothing")
	r.Write(layout.VersionDir("v0.10-pai")+"/bin/runc", "a copy without its end")
	got := ask(t, r, inspect.Programs)
	want := map[string]string{"bin/runc": of("runc"), "cni/bridge": of("bridge")}
	if len(got.Programs) != 1 || !maps.Equal(got.Programs["v0.9-pai"], want) {
		t.Errorf("got programs %v, want %v", got.Programs, want)
	}
	if len(got.Problems) != 1 || got.Problems["programs "+dir+"/bin/link"] == "" {
		t.Errorf("got problems %v, want only that of the link", got.Problems)
	}
}

func TestDigestCache(t *testing.T) {
	t.Parallel()
	r := inspecttest.NewRoot(t)
	file := layout.Program("v0.9-pai", "runc")
	r.Write(layout.VersionDir("v0.9-pai")+"/release.json", "{}")
	r.Write(file, "runc")
	digest := func() string {
		t.Helper()
		return ask(t, r, inspect.Programs).Programs["v0.9-pai"]["bin/runc"]
	}
	cached := func() map[string]string {
		t.Helper()
		var cache map[string]string
		data, err := os.ReadFile(r.At(layout.DigestsFile))
		if err == nil {
			err = json.Unmarshal(data, &cache)
		}
		if err != nil {
			return nil
		}
		return cache
	}
	settle := func() {
		t.Helper()
		time.Sleep(2100 * time.Millisecond) // a file that just changed is not stored
	}
	settle()
	if got := digest(); got != of("runc") || cached() != nil {
		t.Errorf("got %s and cache %v without the directory of PAI, want no cache", got, cached())
	}
	r.Write(layout.StateDir+"/x", "")
	if got := digest(); got != of("runc") || len(cached()) != 1 {
		t.Fatalf("got %s and cache %v, want one entry", got, cached())
	}
	if info, err := os.Stat(r.At(layout.DigestsFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got mode %v, %v, want 0600", info.Mode(), err)
	}
	cache := cached()
	for key := range cache {
		cache[key] = "stored"
	}
	data, err := json.Marshal(cache)
	if err != nil {
		t.Fatal(err)
	}
	r.Write(layout.DigestsFile, string(data))
	if got := digest(); got != "stored" {
		t.Errorf("got %s, want the digest in the cache", got)
	}
	r.Write(file, "xxxx") // as long as before
	if got := digest(); got != of("xxxx") {
		t.Errorf("got %s for a changed file, want its digest", got)
	}
	r.Write(layout.DigestsFile, "{")
	if got := digest(); got != of("xxxx") {
		t.Errorf("got %s with a broken cache, want the digest", got)
	}
}

// started is a kubelet that was started from its directory.
func started(t *testing.T) *inspecttest.Root {
	t.Helper()
	r := inspecttest.NewRoot(t)
	r.Link(layout.RoleLink("kubelet"), "../v0.9-pai")
	r.Write(layout.RunScript("v0.9-pai", layout.RoleKubelet), "#!/bin/sh\nexec kubelet\n")
	r.Write(layout.VersionFile("v0.9-pai", layout.KubeletConfigName), "a: 1\n")
	r.Write(layout.UnitsDir+"/"+layout.Unit("kubelet"), "[Unit]\n")
	r.Write(layout.Program("v0.9-pai", "kubelet"), "kubelet")
	r.Process(77, layout.Program("v0.9-pai", "kubelet"), []string{"--config=x"}, []string{"A=b", "PAI_SETTINGS=abc"})
	r.Units[layout.Unit("kubelet")] = inspecttest.Unit{State: "active", PID: 77, Reload: true}
	return r
}

func TestRoleOfARunningProgram(t *testing.T) {
	t.Parallel()
	r := started(t)
	settings := fingerprint.Settings{
		Dir: layout.VersionDir("v0.9-pai"), Script: []byte("#!/bin/sh\nexec kubelet\n"), Unit: []byte("[Unit]\n"),
		Files: map[string][]byte{layout.KubeletConfigName: []byte("a: 1\n")},
	}
	want := inspect.Role{
		Link: "v0.9-pai", Active: true, PID: 77, NeedsReload: true, Program: "/opt/pai/v0.9-pai/bin/kubelet", ProgramDigest: of("kubelet"),
		Settings: "abc", DiskSettings: settings.Digest(),
		Programs: fingerprint.Programs("kubelet", map[string]string{"bin/kubelet": of("kubelet")}),
	}
	got := ask(t, r, inspect.Roles)
	if got.Roles["kubelet"] != want || len(got.Problems) > 0 {
		t.Errorf("got %+v, %v, want %+v", got.Roles["kubelet"], got.Problems, want)
	}
	r.Write(layout.VersionFile("v0.9-pai", layout.KubeletConfigName), "a: 2\n")
	if got := ask(t, r, inspect.Roles).Roles["kubelet"]; got.DiskSettings == want.DiskSettings || got.Settings != "abc" {
		t.Errorf("got %+v after a change on disk, want other settings there", got)
	}
}

func TestRoleWhoseProcessEnded(t *testing.T) {
	t.Parallel()
	r := started(t)
	if err := os.RemoveAll(r.At("/proc/77")); err != nil {
		t.Fatal(err)
	}
	got := ask(t, r, inspect.Roles)
	if role := got.Roles["kubelet"]; role.PID != 0 || role.Program != "" || role.Link != "v0.9-pai" || len(got.Problems) > 0 {
		t.Errorf("got %+v, %v, want a role that does not run", role, got.Problems)
	}
}

// What cannot be read is absent, with its reason, and never empty.
func TestUnreadableValuesAreAbsent(t *testing.T) {
	t.Parallel()
	directory := func(path string) func(r *inspecttest.Root) { // cannot be read as a file
		return func(r *inspecttest.Root) {
			if err := os.RemoveAll(r.At(path)); err != nil {
				t.Fatal(err)
			}
			r.Write(path+"/x", "")
		}
	}
	for _, c := range []struct {
		name    string
		change  func(r *inspecttest.Root)
		part    inspect.Part
		problem string
		absent  func(inspect.Report) bool
	}{
		{"roles directory", func(r *inspecttest.Root) {
			if err := os.RemoveAll(r.At(layout.RolesDir)); err != nil {
				t.Fatal(err)
			}
			r.Write(layout.RolesDir, "")
		}, inspect.Roles, "roles", func(r inspect.Report) bool { return r.Roles == nil }},
		{"command line", directory("/proc/77/cmdline"), inspect.Roles, "roles", func(r inspect.Report) bool { return r.Roles == nil }},
		{"environment", directory("/proc/77/environ"), inspect.Roles, "roles kubelet settings",
			func(r inspect.Report) bool { return r.Roles["kubelet"].Settings == "" && r.Roles["kubelet"].PID == 77 }},
		{"running program", directory(layout.Program("v0.9-pai", "kubelet")), inspect.Roles, "roles kubelet program",
			func(r inspect.Report) bool {
				return r.Roles["kubelet"].ProgramDigest == "" && r.Roles["kubelet"].Program != ""
			}},
		{"script", directory(layout.RunScript("v0.9-pai", layout.RoleKubelet)), inspect.Roles, "roles kubelet settings on disk",
			func(r inspect.Report) bool { return r.Roles["kubelet"].DiskSettings == "" }},
		{"prepare script", directory(layout.PrepareScript), inspect.Prepared, "prepared " + layout.PrepareScript,
			func(r inspect.Report) bool { return r.Prepared != nil && r.Prepared.Files[layout.PrepareScript] == "" }},
		{"hosts", directory("/etc/hosts"), inspect.Prepared, "prepared /etc/hosts", func(r inspect.Report) bool { return r.Prepared.Hosts == "" }},
		{"image record", func(r *inspecttest.Root) { r.Write(layout.ImagesDir+"/sha256-1", "{") }, inspect.Images, "images sha256-1",
			func(r inspect.Report) bool { return len(r.Images.Records) == 0 }},
		{"containerd", func(*inspecttest.Root) {}, inspect.Images, "images", func(r inspect.Report) bool { return r.Images.Images == nil }},
		{"capabilities", func(r *inspecttest.Root) { r.Write("/proc/1/status", "Name: x\n") }, inspect.Facts, "facts",
			func(r inspect.Report) bool { return r.Facts == nil }},
		{"memory", func(r *inspecttest.Root) { r.Write("/proc/meminfo", "MemFree: 1 kB\n") }, inspect.Facts, "facts", func(r inspect.Report) bool { return r.Facts == nil }},
		{"resolver", directory(layout.ResolverFile), inspect.Facts, "facts", func(r inspect.Report) bool { return r.Facts == nil }},
		{"state directory", func(r *inspecttest.Root) { r.Write(layout.StateDir, "") }, inspect.Foreign, "foreign",
			func(r inspect.Report) bool { return r.Foreign == nil }},
		{"unknown part", func(*inspecttest.Root) {}, "weather", "weather", func(inspect.Report) bool { return true }},
	} {
		r := started(t)
		c.change(r)
		got := ask(t, r, c.part)
		if got.Problems[c.problem] == "" || !c.absent(got) {
			t.Errorf("%s: got %+v, want nothing and the problem %q", c.name, got, c.problem)
		}
		if strings.Contains(got.Problems[c.problem], string(r.Dir)) {
			t.Errorf("%s: got problem %q, want the path on the machine", c.name, got.Problems[c.problem])
		}
	}
}

func TestSystemdMustAnswerForEachUnit(t *testing.T) {
	t.Parallel()
	r := started(t)
	for out, failure := range map[string]error{
		"":                                       nil,
		"Id=pai-kubelet.service\nActiveState=\n": nil,
		"Id=pai-kubelet.service\nActiveState=active\nMainPID=x\n":  nil,
		"Id=pai-kubelet.service\nActiveState=active\nMainPID=77\n": errors.New("no bus"),
	} {
		m := inspect.Machine{Root: string(r.Dir), Run: func(context.Context, string, ...string) (string, error) { return out, failure }}
		for _, p := range []inspect.Part{inspect.Roles, inspect.Prepared} {
			got := m.Inspect(t.Context(), inspect.Request{Parts: []inspect.Part{p}}, "")
			if got.Problem(p) == "" || got.Roles != nil || got.Prepared != nil {
				t.Errorf("%q, %v: got %+v, want %s unknown", out, failure, got, p)
			}
		}
	}
}

func TestPrepared(t *testing.T) {
	t.Parallel()
	r := inspecttest.NewRoot(t)
	r.Write(layout.PrepareScript, "prepare")
	r.Write(layout.UnitsDir+"/pai-etcd-a.service", "unit")
	r.Write(layout.UnitsDir+"/ssh.service", "other")
	r.Write("/etc/hosts", "127.0.0.1 localhost\n127.0.0.1 api.pai.internal # pai\n10.0.0.1 gpu-01 # pai\n10.0.0.2 x # pai?\n")
	r.Units[layout.ShutdownUnit] = inspecttest.Unit{State: "active"}
	r.Units[layout.PrepareUnit] = inspecttest.Unit{State: "failed"}
	got := ask(t, r, inspect.Prepared)
	p := got.Prepared
	if p == nil || p.PrepareActive || !p.ShutdownActive || p.Joined || len(got.Problems) > 0 {
		t.Fatalf("got %+v, %v", p, got.Problems)
	}
	if want := map[string]string{layout.PrepareScript: of("prepare"), layout.UnitsDir + "/pai-etcd-a.service": of("unit")}; !maps.Equal(p.Files, want) {
		t.Errorf("got files %v, want %v", p.Files, want)
	}
	if want := of("127.0.0.1 api.pai.internal # pai\n10.0.0.1 gpu-01 # pai\n"); p.Hosts != want {
		t.Errorf("got hosts %s, want %s", p.Hosts, want)
	}
	r.Write("/etc/hosts", "127.0.0.1 localhost\n")
	for _, file := range []string{layout.KubeletConf, layout.KubeletClientCertificate, layout.KubeletServingCertificate} {
		if p := ask(t, r, inspect.Prepared).Prepared; p.Joined || p.Hosts != "" {
			t.Errorf("got %+v without %s, want a machine that has not joined", p, file)
		}
		r.Link(file, "/var/lib/kubelet/really"+file)
		r.Write("/var/lib/kubelet/really"+file, "")
	}
	if !ask(t, r, inspect.Prepared).Prepared.Joined {
		t.Error("got a machine that has not joined, want one that has")
	}
	r.Write("/var/lib/kubelet/really"+layout.KubeletClientCertificate, endedCertificate(t))
	if p := ask(t, r, inspect.Prepared).Prepared; p.Joined || !p.IdentityEnded {
		t.Errorf("got %+v, want an identity that ended", p)
	}
}

func endedCertificate(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func TestImages(t *testing.T) {
	t.Parallel()
	r := inspecttest.NewRoot(t)
	r.Write(layout.ImagesDir+"/sha256-1", `{"images":{"a":"sha256:1"}}`)
	r.Write(layout.ImagesDir+"/.pai-tmp.x", `{`)
	r.Programs[layout.Ctr+" images ls"] = `REF                       TYPE                                       DIGEST                  SIZE      PLATFORMS   LABELS
pai.local/pause:v1        application/vnd.oci.image.manifest.v1+json sha256:aaa              1.0 MiB   linux/amd64 io.cri-containerd.image=managed,io.cri-containerd.pinned=pinned
sha256:bbb                application/vnd.oci.image.manifest.v1+json sha256:ccc              1.0 MiB   linux/amd64 -
`
	got := ask(t, r, inspect.Images)
	if !maps.Equal(got.Images.Images, map[string]string{"pai.local/pause:v1": "sha256:aaa", "sha256:bbb": "sha256:ccc"}) {
		t.Errorf("got images %v", got.Images.Images)
	}
	if len(got.Images.Records) != 1 || got.Images.Records["sha256-1"]["a"] != "sha256:1" || len(got.Problems) > 0 {
		t.Errorf("got records %v, %v", got.Images.Records, got.Problems)
	}
}

func TestFacts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(r *inspecttest.Root)
		want   inspect.MachineFacts
	}{
		{"everything", func(*inspecttest.Root) {}, inspect.MachineFacts{}},
		{"cgroup v1", func(r *inspecttest.Root) { _ = os.Remove(r.At("/sys/fs/cgroup/cgroup.controllers")) }, inspect.MachineFacts{CgroupV1: true}},
		{"fewer capabilities", func(r *inspecttest.Root) { r.Write("/proc/1/status", "CapEff:\t000001fffeffffff\n") }, inspect.MachineFacts{OOMRestricted: true}},
		{"a resolver", func(r *inspecttest.Root) {
			r.Link(layout.ResolverFile, "/etc/resolv.conf")
			r.Write("/etc/resolv.conf", "search x\nnameserver 10.0.0.1\n")
		}, inspect.MachineFacts{Resolver: true}},
		{"an empty resolver", func(r *inspecttest.Root) { r.Write(layout.ResolverFile, "# nameserver 10.0.0.1\n") }, inspect.MachineFacts{}},
	} {
		r := inspecttest.NewRoot(t)
		c.change(r)
		got := ask(t, r, inspect.Facts)
		if got.Facts == nil {
			t.Errorf("%s: got %v", c.name, got.Problems)
			continue
		}
		got.Facts.Overlay = false // the file system of the test
		c.want.MemoryMiB, c.want.Cores = 1024, runtime.NumCPU()
		if *got.Facts != c.want {
			t.Errorf("%s: got %+v, want %+v", c.name, *got.Facts, c.want)
		}
	}
}

func TestForeign(t *testing.T) {
	t.Parallel()
	r := started(t)
	r.Write(layout.VersionDir("v0.9-pai")+"/release.json", "{}")
	r.Write(layout.VersionDir("v0.10-pai.new")+"/bin/x", "")
	for _, own := range []string{
		layout.APIProxyFile, layout.PrepareScript, layout.SlotA.EtcdEnv(), layout.NoResolverFile, layout.PKIMark, layout.ImagesDir + "/x",
		layout.ClusterRecordFile, layout.StateDir + "/operations/1.json", layout.Helper(of("")), layout.StateDir + "/.pai-tmp.123",
	} {
		r.Write(own, "")
	}
	foreign := []string{
		layout.ConfigDir + "/notes.txt", layout.ProgramsDir + "/backup", layout.RolesDir + "/mine", layout.StateDir + "/metrics", layout.HelperDir + "/tool",
	}
	for _, path := range foreign {
		r.Write(path+"/x", "")
	}
	slices.Sort(foreign)
	if got := ask(t, r, inspect.Foreign); !slices.Equal(got.Foreign, foreign) || len(got.Problems) > 0 {
		t.Errorf("got %v, %v, want %v", got.Foreign, got.Problems, foreign)
	}
	for _, path := range foreign {
		if _, err := os.Stat(r.At(path)); err != nil {
			t.Errorf("%s was not left alone: %v", path, err)
		}
	}
}

// A machine without PAI has no problems and nothing.
func TestEmptyMachine(t *testing.T) {
	t.Parallel()
	got := ask(t, inspecttest.NewRoot(t), all()...)
	delete(got.Problems, "images") // there is no containerd
	if len(got.Problems)+len(got.Programs)+len(got.Roles)+len(got.Foreign) > 0 || got.Program != "self" {
		t.Errorf("got %+v, want nothing", got)
	}
}
