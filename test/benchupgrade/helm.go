package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/release"
	"pai.dev/pai/internal/service"
	"pai.dev/pai/test/chaos"
)

// chartOf is the rendered objects of a service as a chart.
type chartOf struct {
	service string
	objs    []*unstructured.Unstructured
}

// helm measures `helm upgrade --wait` of the same rendered objects, one service
// after the other in the order of their prerequisites, beside PAI's upgrade of the
// services on the same cluster. PAI goes first, and is rolled back: so the images
// are on the machine, and what a service needs besides its chart exists. Both are
// advantages of helm, as is that nothing looks at jobs.
func (b *bench) helm(ctx context.Context) error {
	c := b.cluster
	if err := c.Up(ctx, 1, "", nil); err != nil {
		return err
	}
	defer func() { _ = c.Down(ctx) }() // what is left, the next run takes down
	dir, err := os.MkdirTemp("", "pai-bench-helm-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	h := helmClient{program: filepath.Join(dir, "helm"), kubeconfig: filepath.Join(dir, "kubeconfig")}
	build := exec.CommandContext(ctx, "go", "build", "-modfile=tools/helm/go.mod", "-o", h.program, "helm.sh/helm/v4/cmd/helm")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build helm: %w\n%s", err, out)
	}
	if _, err := c.Run(ctx, 10*time.Minute, "upgrade", "apply", "--to", chaos.To, "--kubernetes", "--yes"); err != nil {
		return err
	}
	start := time.Now()
	if _, err := c.Run(ctx, 10*time.Minute, "upgrade", "apply", "--to", chaos.To, "--yes"); err != nil {
		return err
	}
	b.row("PAI, services "+chaos.From+" to "+chaos.To+", before helm: wall time", "%.1f s", time.Since(start).Seconds())
	charts := map[string][]chartOf{}
	for _, release := range []string{chaos.From, chaos.To} {
		if charts[release], err = b.renderAll(ctx, release); err != nil {
			return err
		}
	}
	if _, err := c.Run(ctx, 10*time.Minute, "upgrade", "rollback", "--services", "--yes"); err != nil {
		return err
	}
	if err := h.writeKubeconfig(ctx, c); err != nil {
		return err
	}
	// Helm takes over what runs; its own time begins after that.
	for _, chart := range charts[chaos.From] {
		if err := h.upgrade(ctx, filepath.Join(dir, chaos.From), chart, "--install", "--take-ownership", "--force-conflicts"); err != nil {
			return err
		}
		if err := h.own(ctx, chart.objs); err != nil {
			return err
		}
	}
	start = time.Now()
	for _, chart := range charts[chaos.To] {
		if err := h.upgrade(ctx, filepath.Join(dir, chaos.To), chart, "--install", "--take-ownership", "--force-conflicts"); err != nil {
			return err
		}
	}
	b.row("helm upgrade --wait, the same objects: wall time", "%.1f s", time.Since(start).Seconds())
	return nil
}

// renderAll renders the services of a release, prerequisites first.
func (b *bench) renderAll(ctx context.Context, of string) ([]chartOf, error) {
	cfg, err := config.Load(filepath.Join(b.cluster.State, "clusters", "local", "config"))
	if err != nil {
		return nil, err
	}
	bundle, err := b.openBundle(of)
	if err != nil {
		return nil, err
	}
	services, err := service.Catalog(bundle.Services())
	if err != nil {
		return nil, err
	}
	byName := map[string]service.Service{}
	var specs []plan.ServiceSpec
	for _, s := range services {
		byName[s.Name] = s
		specs = append(specs, s.Planned())
	}
	ordered, err := plan.Order(specs)
	if err != nil {
		return nil, err
	}
	var charts []chartOf
	for _, spec := range ordered {
		objs, err := service.Render(ctx, byName[spec.Name], cfg, bundle)
		if err != nil {
			return nil, err
		}
		charts = append(charts, chartOf{spec.Name, objs})
	}
	return charts, nil
}

// openBundle opens a bundle that Sign has built.
func (b *bench) openBundle(of string) (*release.Bundle, error) {
	cache := os.Getenv("PAI_CACHE_DIR")
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return nil, err
		}
		cache = filepath.Join(user, "pai")
	}
	key, err := release.EnsureKey(release.KeyFile(b.cluster.State))
	if err != nil {
		return nil, err
	}
	return release.Open(filepath.Join(cache, "bundles", of), []ed25519.PublicKey{key.Public().(ed25519.PublicKey)})
}

// helmClient is a helm program and its access to a cluster.
type helmClient struct{ program, kubeconfig string }

// writeKubeconfig writes the administrator's access to the API from this host.
func (h helmClient) writeKubeconfig(ctx context.Context, c *chaos.Cluster) error {
	data, err := c.Run(ctx, time.Minute, "machine", "shell", "pai-1", "--", "cat /etc/kubernetes/admin.conf")
	if err != nil {
		return err
	}
	address, err := c.Address(ctx, "pai-1")
	if err != nil {
		return err
	}
	kubeconfig, err := clientcmd.Load([]byte(data))
	if err != nil {
		return fmt.Errorf("read the kubeconfig of the machine: %w", err)
	}
	for _, one := range kubeconfig.Clusters {
		one.Server = "https://" + address + ":6443"
	}
	return clientcmd.WriteToFile(*kubeconfig, h.kubeconfig)
}

// upgrade runs `helm upgrade --wait` of one chart, which it writes into dir first.
func (h helmClient) upgrade(ctx context.Context, dir string, chart chartOf, flags ...string) error {
	path := filepath.Join(dir, chart.service)
	if err := writeChart(path, chart); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	args := append([]string{"upgrade", chart.service, path, "--namespace", pai.SystemNamespace, "--kubeconfig", h.kubeconfig, "--wait"}, flags...)
	if out, err := exec.CommandContext(ctx, h.program, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("helm upgrade %s: %w\n%s", chart.service, err, out)
	}
	return nil
}

// writeChart writes rendered objects as a chart, whose templates are nothing but text.
func writeChart(dir string, chart chartOf) error {
	templates := filepath.Join(dir, "templates")
	if err := os.MkdirAll(templates, 0o700); err != nil {
		return err
	}
	var text bytes.Buffer
	for _, obj := range chart.objs {
		data, err := yaml.Marshal(obj.Object)
		if err != nil {
			return err
		}
		text.WriteString("---\n" + strings.ReplaceAll(string(data), "{{", `{{ "{{" }}`))
	}
	about := fmt.Sprintf("apiVersion: v2\nname: %s\nversion: 1.0.0\n", chart.service)
	return errors.Join(os.WriteFile(filepath.Join(dir, "Chart.yaml"), []byte(about), 0o600),
		os.WriteFile(filepath.Join(templates, "objects.yaml"), text.Bytes(), 0o600))
}
