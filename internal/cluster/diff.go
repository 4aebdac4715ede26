package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// diffPatience is how long a comparison tries an API that does not answer: it
// is shown while somebody waits.
const diffPatience = 10 * time.Second

// showing is a doer that can say what it would change. The others bring
// programs and images whole, or things that nobody compares: snapshots,
// certificates.
type showing struct {
	doer
	diff func(ctx context.Context, s plan.Step) ([]plan.Change, error)
}

func (s showing) Diff(ctx context.Context, step plan.Step) ([]plan.Change, error) {
	return s.diff(ctx, step)
}

// installed is what the folder of a version consists of; where steps are only
// shown, what it will consist of.
func (c *cluster) installed(ctx context.Context, h machine.Host, v pai.KubernetesVersion) (installed, error) {
	if c.Kubeadm != nil && c.Bundle != nil && carries(c.Bundle, v) == nil {
		return installedFrom(c.Bundle), nil
	}
	return readInstalled(ctx, h, v)
}

// askKubeadm runs a script that may use $kubeadm of a version and needs no
// configuration.
func (c *cluster) askKubeadm(ctx context.Context, h machine.Host, v pai.KubernetesVersion, script string) (string, error) {
	if c.Kubeadm != nil {
		return c.Kubeadm(ctx, nil, script)
	}
	return sh(ctx, h, "kubeadm=%s\n%s", layout.Program(v, "kubeadm"), script)
}

// diffFiles compares the files that a role runs from now with those that it
// would run from.
func (c *cluster) diffFiles(ctx context.Context, s plan.Step) ([]plan.Change, error) {
	h, m, err := c.target(s)
	if err != nil {
		return nil, err
	}
	role, from, err := rolesBefore(ctx, h, s)
	if err != nil {
		return nil, err
	}
	files, err := c.roleFiles(ctx, h, m, s.To.Kubernetes(), role, s.Emulate)
	if err != nil {
		return nil, fmt.Errorf("render %s of Kubernetes %s for %q: %w", role, s.To, m.Hostname, err)
	}
	var changes []plan.Change
	for _, file := range sortedKeys(files) {
		change := plan.Change{What: "file " + file, Action: plan.Created}
		if from != "" {
			was, err := h.ReadFile(ctx, strings.Replace(file, layout.VersionDir(s.To.Kubernetes()), layout.VersionDir(from), 1))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return changes, err
			}
			if err == nil {
				change.Action = plan.Changed
				// That each version reads its own folder is no change.
				before := strings.ReplaceAll(string(was), layout.VersionDir(from), layout.VersionDir(s.To.Kubernetes()))
				if change.Fields = fileFields(file, before, files[file].content); len(change.Fields) == 0 {
					continue
				}
			}
		}
		changes = append(changes, change)
	}
	return changes, nil
}

// rolesBefore is the role that a step is about, and the version that it runs
// now. Of two slots it is the one that runs: both are started alike.
func rolesBefore(ctx context.Context, h machine.Host, s plan.Step) (plan.Role, pai.KubernetesVersion, error) {
	slotted := map[plan.Kind]func(layout.Slot) plan.Role{plan.KindEtcd: etcdRole, plan.KindAPIServer: apiServerRole}[s.Kind]
	role := s.Role
	switch {
	case slotted != nil:
		states, err := slotStates(ctx, h, slotted)
		if err != nil {
			return "", "", err
		}
		for _, one := range layout.Slots() {
			if states[one].Running != "" {
				return slotted(one), states[one].Running, nil
			}
		}
		return slotted(layout.SlotA), "", nil
	case s.Kind == plan.KindKubelet:
		role = plan.RoleKubelet
	}
	state, err := roleState(ctx, h, role)
	return role, state.Link, err
}

// fileFields compares two versions of a file by what they say: structured ones
// by field, others by line.
func fileFields(file, before, after string) []plan.FieldChange {
	switch path.Ext(file) {
	case ".yaml", ".json":
		var b, a any
		if yaml.Unmarshal([]byte(before), &b) == nil && yaml.Unmarshal([]byte(after), &a) == nil {
			return plan.Fields(b, a)
		}
	}
	return plan.Lines(before, after)
}

func (c *cluster) diffDNS(ctx context.Context, s plan.Step) ([]plan.Change, error) {
	h, _, err := c.target(s)
	if err != nil {
		return nil, err
	}
	i, err := c.installed(ctx, h, s.To.Kubernetes())
	if err != nil {
		return nil, err
	}
	forward, err := c.allHaveResolver(ctx)
	if err != nil {
		return nil, err
	}
	objects, err := c.dnsObjects(i.Images[imageCoreDNS], forward)
	if err != nil {
		return nil, err
	}
	return c.diffObjects(ctx, objects, kube.ApplyOptions{Inventory: dnsInventory, Prune: true})
}

func (c *cluster) diffBootstrap(ctx context.Context, s plan.Step) ([]plan.Change, error) {
	_, m, err := c.target(s)
	if err != nil {
		return nil, err
	}
	objects, err := c.bootstrapObjects(m)
	if err != nil {
		return nil, err
	}
	return c.diffObjects(ctx, objects, kube.ApplyOptions{Inventory: bootstrapInventory})
}

func (c *cluster) diffObjects(ctx context.Context, objects []*unstructured.Unstructured, o kube.ApplyOptions) ([]plan.Change, error) {
	k, err := c.Kube(ctx)
	if err != nil {
		return nil, err
	}
	return k.WithRetryTimeout(diffPatience).Diff(ctx, objects, o)
}
