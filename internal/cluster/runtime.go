package cluster

import (
	"bytes"
	"context"
	"text/template"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// runtimeFiles are the script and the configuration of containerd.
func (c *cluster) runtimeFiles(ctx context.Context, h machine.Host, v pai.KubernetesVersion) (map[string]preparedFile, error) {
	i, err := c.installed(ctx, h, v)
	if err != nil {
		return nil, err
	}
	f, err := c.facts(ctx, h)
	if err != nil {
		return nil, err
	}
	toml, err := containerdConfig(v, i, f)
	if err != nil {
		return nil, err
	}
	config := layout.VersionFile(v, layout.ContainerdConfigName)
	return map[string]preparedFile{
		config: {toml, 0o644},
		layout.RunScript(v, plan.RoleRuntime): {script(v, plan.RoleRuntime, "containerd", flags{"--config=" + config},
			"# Where containerd finds its shim.", `export PATH="`+layout.VersionDir(v)+`/bin:$PATH"`), 0o755},
	}, nil
}

// containerdConfig is the configuration of the containerd of a version. That of
// containerd 2.2, which clusters have, does not change.
func containerdConfig(v pai.KubernetesVersion, i installed, f facts) (string, error) {
	t, err := template.ParseFS(embedded, "manifests/containerd.toml")
	if err != nil {
		return "", err
	}
	snapshotter := "overlayfs"
	if f.Overlay {
		snapshotter = "native"
	}
	var b bytes.Buffer
	err = t.Execute(&b, map[string]any{
		"Dir": layout.VersionDir(v), "SandboxImage": i.Images[imagePause], "Snapshotter": snapshotter,
		"From23":      pai.CompareVersions(i.Programs["containerd"], "v2.3") >= 0,
		"RestrictOOM": f.OOMRestricted, "SystemdCgroup": !f.CgroupV1, "Socket": layout.ContainerdSocket,
	})
	return b.String(), err
}
