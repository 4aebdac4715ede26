package cluster

import (
	"context"
	"encoding/json"
	"fmt"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
)

// installed is the content of a version's directory, in its file release.json.
// Later steps therefore need only the directory, and not its bundle.
type installed struct {
	Kubernetes pai.KubernetesVersion `json:"kubernetes"`
	Upstream   string                `json:"upstream"` // of Kubernetes
	Release    string                `json:"release"`
	Bundle     string                `json:"bundle"`   // digest
	Programs   map[string]string     `json:"programs"` // name → upstream version
	Images     map[string]string     `json:"images"`   // name → full name
}

func installedFrom(b BundleContent) installed {
	m := b.Manifest()
	i := installed{
		Kubernetes: m.Kubernetes.Version,
		Upstream:   m.Kubernetes.Upstream,
		Release:    string(m.Metadata.Name),
		Bundle:     b.Digest(),
		Programs:   map[string]string{},
		Images:     map[string]string{},
	}
	for _, p := range m.Programs {
		i.Programs[p.Name] = p.Version
	}
	for _, image := range []string{imagePause, imageCoreDNS} {
		i.Images[image] = b.Image(image)
	}
	return i
}

// Images that the cluster itself needs.
const (
	imagePause   = "pause"
	imageCoreDNS = "coredns"
)

func installedFile(v pai.KubernetesVersion) string { return layout.VersionDir(v) + "/release.json" }

func readInstalled(ctx context.Context, h machine.Host, v pai.KubernetesVersion) (installed, error) {
	var i installed
	data, err := h.ReadFile(ctx, installedFile(v))
	if err != nil {
		return i, fmt.Errorf("read the content of Kubernetes %s on %s: %w", v, h.Name(), err)
	}
	if err := json.Unmarshal(data, &i); err != nil {
		return i, fmt.Errorf("read %s on %s: %w", installedFile(v), h.Name(), err)
	}
	return i, nil
}

// checkBundle checks that a bundle has the version of a step.
func checkBundle(b BundleContent, v pai.KubernetesVersion) error {
	if b == nil {
		return fmt.Errorf("no bundle with Kubernetes %s", v)
	}
	if got := b.Manifest().Kubernetes.Version; got.Compare(v) != 0 {
		return fmt.Errorf("the bundle has Kubernetes %s, not %s", got, v)
	}
	return nil
}
