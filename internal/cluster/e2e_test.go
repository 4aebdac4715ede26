//go:build e2e

package cluster_test

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
)

// folderBundle is a bundle whose programs are in a folder, unsigned: bin/,
// cni/, images/<name>/….
type folderBundle struct {
	dir      string
	manifest release.Manifest
	images   map[string]string // name → program on this host
}

func (b folderBundle) Digest() string             { return "sha256:" + b.manifest.Metadata.Name }
func (b folderBundle) Manifest() release.Manifest { return b.manifest }
func (b folderBundle) Image(n string) string {
	return "pai.local/" + n + ":" + b.manifest.Metadata.Name
}
func (b folderBundle) ImageNames() []string {
	var names []string
	for n := range b.images {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

func (b folderBundle) WritePrograms(ctx context.Context, w io.Writer) error {
	tw := tar.NewWriter(w)
	for _, pattern := range []string{"bin/*", "cni/*"} {
		files, err := filepath.Glob(filepath.Join(b.dir, pattern))
		if err != nil {
			return err
		}
		for _, f := range files {
			rel, _ := filepath.Rel(b.dir, f)
			if err := addFile(tw, f, rel); err != nil {
				return err
			}
		}
	}
	if err := addFile(tw, os.Getenv("PAI_E2E_PROXY"), "bin/api-proxy"); err != nil {
		return err
	}
	if err := addFile(tw, os.Getenv("PAI_E2E_NETWORK"), "bin/network"); err != nil {
		return err
	}
	return tw.Close()
}

func addFile(tw *tar.Writer, path, as string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := tw.WriteHeader(&tar.Header{Name: as, Mode: 0o755, Size: info.Size()}); err != nil {
		return err
	}
	_, err = io.Copy(tw, f)
	return err
}

func (b folderBundle) WriteImages(ctx context.Context, w io.Writer, names ...string) error {
	refs := map[name.Reference]v1.Image{}
	for n, path := range b.images {
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
			r, pw := io.Pipe()
			go func() {
				tw := tar.NewWriter(pw)
				err := addFile(tw, path, n)
				if err == nil {
					err = tw.Close()
				}
				pw.CloseWithError(err)
			}()
			return r, nil
		})
		if err != nil {
			return err
		}
		img, err := mutate.AppendLayers(empty.Image, layer)
		if err != nil {
			return err
		}
		cfg, err := img.ConfigFile()
		if err != nil {
			return err
		}
		cfg = cfg.DeepCopy()
		cfg.OS, cfg.Architecture = "linux", "amd64"
		cfg.Config.Entrypoint = []string{"/" + n}
		if img, err = mutate.ConfigFile(img, cfg); err != nil {
			return err
		}
		ref, err := name.ParseReference(b.Image(n))
		if err != nil {
			return err
		}
		refs[ref] = img
	}
	return tarball.MultiRefWrite(refs, w)
}

func bundle(rel, upstream, etcd, coredns string) folderBundle {
	dir := "/tmp/pai-programs/" + rel
	return folderBundle{
		dir: dir,
		manifest: release.Manifest{
			Metadata:   release.Metadata{Name: rel},
			Kubernetes: release.KubernetesRow{Version: pai.Version(rel + "-pai"), Upstream: upstream},
			Programs: []release.Program{
				{Name: "etcd", Version: etcd}, {Name: "containerd", Version: "v2.2.3"}, {Name: "runc", Version: "v1.4.3"},
				{Name: "cni", Version: "v1.9.1"}, {Name: "network", Version: "v1"}, {Name: "api-proxy", Version: "v1"},
			},
		},
		images: map[string]string{
			"coredns": dir + "/images/coredns/" + coredns,
			"pause":   "/tmp/pai-programs/v0.9/images/pause/pause",
			"busybox": "/bin/busybox",
		},
	}
}

type driver struct {
	t     *testing.T
	cfg   *config.Config
	hosts map[string]machine.Host
	start time.Time
}

func newDriver(t *testing.T) *driver {
	d := &driver{t: t, hosts: map[string]machine.Host{}, start: time.Now()}
	d.cfg = &config.Config{Kubernetes: config.Kubernetes{
		ServiceClusterIPRange: "10.96.0.0/16", PodClusterIPRange: "10.244.0.0/16", ClusterDNS: "10.96.0.10",
		APIServersPort: 6443, ServiceNodePortRange: "9000-9999",
	}}
	d.cfg.Services.Cluster.Common.ClusterID = "c"
	for i, spec := range strings.Fields(os.Getenv("PAI_E2E_MACHINES")) { // name=address
		n, address, _ := strings.Cut(spec, "=")
		role := config.RoleWorker
		if i == 0 {
			role = config.RoleMaster
		}
		d.cfg.Layout.MachineList = append(d.cfg.Layout.MachineList, config.Machine{Hostname: n, HostIP: address, Role: role, Username: "root", SSHPort: 22})
		h, err := machine.Dial(t.Context(), machine.Target{Name: n, Address: address, User: "root", KeyFile: os.Getenv("PAI_E2E_KEY"), KnownHosts: os.Getenv("PAI_E2E_KNOWN_HOSTS")})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { h.Close() })
		d.hosts[n] = h
	}
	return d
}

func (d *driver) kube(ctx context.Context) (*kube.Client, error) {
	m := d.cfg.Master()
	data, err := cluster.AdminKubeconfig(ctx, d.hosts[m.Hostname], m.HostIP)
	if err != nil {
		return nil, err
	}
	if f := os.Getenv("PAI_E2E_KUBECONFIG"); f != "" {
		if err := os.WriteFile(f, data, 0o600); err != nil {
			return nil, err
		}
	}
	return kube.FromKubeconfig(data)
}

func (d *driver) doers(b cluster.Bundle) plan.Doers {
	return cluster.Doers(cluster.Deps{Config: d.cfg, Hosts: d.hosts, Bundle: b, Kube: d.kube, Progress: d.log})
}

func (d *driver) log(format string, args ...any) {
	fmt.Printf("%7.2f  %s\n", time.Since(d.start).Seconds(), fmt.Sprintf(format, args...))
}

func (d *driver) step(doers plan.Doers, s plan.Step) {
	d.t.Helper()
	ctx := d.t.Context()
	label := strings.TrimSpace(fmt.Sprintf("%s %s %s", s.Kind, s.Target, s.Role))
	begin := time.Now()
	done, err := doers[s.Kind].Done(ctx, s)
	if err != nil {
		d.log("%s: Done: %v", label, err)
	}
	checked := time.Since(begin)
	if done && err == nil {
		d.log("%-40s done already (%.2f s)", label, checked.Seconds())
		return
	}
	if err := doers[s.Kind].Do(ctx, s); err != nil {
		d.t.Fatalf("%s: %v", label, err)
	}
	did := time.Since(begin)
	done, err = doers[s.Kind].Done(ctx, s)
	if err != nil || !done {
		d.t.Fatalf("%s: not done afterwards: %v", label, err)
	}
	d.log("%-40s %.2f s (+ %.2f s of checking)", label, (did - checked).Seconds(), (checked + time.Since(begin) - did).Seconds())
}

func (d *driver) kubernetes(b folderBundle, from pai.Version) {
	d.t.Helper()
	doers := d.doers(b)
	to := b.manifest.Kubernetes.Version
	each := func(kind plan.Kind, role plan.Role) {
		for _, m := range d.cfg.Layout.MachineList {
			d.step(doers, plan.Step{Kind: kind, Target: m.Hostname, Role: role, To: to, From: from})
		}
	}
	master := d.cfg.Master().Hostname
	onCluster := func(kind plan.Kind) { d.step(doers, plan.Step{Kind: kind, To: to, From: from}) }
	onMaster := func(role plan.Role) {
		d.step(doers, plan.Step{Kind: plan.KindRole, Target: master, Role: role, To: to, From: from})
	}
	each(plan.KindPrepare, "")
	each(plan.KindPrograms, "")
	if from == "" {
		each(plan.KindRole, plan.RoleRuntime)
	}
	each(plan.KindImages, "")
	if from != "" {
		onCluster(plan.KindSnapshot)
	} else {
		onCluster(plan.KindPKI)
	}
	onCluster(plan.KindEtcd)
	onCluster(plan.KindAPIServer)
	if from == "" {
		each(plan.KindRole, plan.RoleAPIProxy)
	}
	onMaster(plan.RoleControllerManager)
	onMaster(plan.RoleScheduler)
	onCluster(plan.KindBootstrap)
	each(plan.KindKubelet, "")
	each(plan.KindRole, plan.RoleKubeProxy)
	if from == "" {
		each(plan.KindRole, plan.RoleNetwork)
	}
	onCluster(plan.KindDNS)
	onCluster(plan.KindRecord)
}

func (d *driver) observe() {
	for _, h := range d.hosts {
		m, err := cluster.Observe(d.t.Context(), h)
		d.log("observed %s: %+v %v", h.Name(), m, err)
	}
}

func v09() folderBundle  { return bundle("v0.9", "v1.35.4", "v3.6.8", "v1.13.1") }
func v010() folderBundle { return bundle("v0.10", "v1.36.3", "v3.6.16", "v1.14.3") }

func TestBoot(t *testing.T) {
	d := newDriver(t)
	b := v09()
	if os.Getenv("PAI_E2E_RELEASE") == "v0.10" {
		b = v010()
	}
	d.kubernetes(b, "")
	d.observe()
}

func TestHop(t *testing.T) {
	d := newDriver(t)
	d.kubernetes(v010(), "v0.9-pai")
	d.observe()
}

func TestClean(t *testing.T) {
	d := newDriver(t)
	wipe := os.Getenv("PAI_E2E_WIPE") != ""
	doers := d.doers(nil)
	for _, m := range slices.Backward(d.cfg.Layout.MachineList) {
		d.step(doers, plan.Step{Kind: plan.KindClean, Target: m.Hostname, Wipe: wipe})
	}
	d.observe()
}
