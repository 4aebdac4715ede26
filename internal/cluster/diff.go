package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/fingerprint"
	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/inspect/helper"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// diffTimeout is the retry timeout of a comparison, because the operator waits
// for it.
const diffTimeout = 10 * time.Second

// withDiff is a doer that can show its changes. The other doers copy whole
// programs and images, or make snapshots and certificates.
type withDiff struct {
	doer
	diff func(ctx context.Context, h machine.Host, m config.Machine, s plan.Step) ([]plan.StepDiff, error)
}

func (d withDiff) Diff(ctx context.Context, s plan.Step) ([]plan.StepDiff, error) {
	h, m, err := d.cluster.target(s)
	if err != nil {
		return nil, err
	}
	return d.diff(ctx, h, m, s)
}

// installed is the content of the directory of a version. If steps are only
// shown, it is the future content.
func (c *cluster) installed(ctx context.Context, h machine.Host, v pai.KubernetesVersion) (installed, error) {
	if c.Kubeadm != nil && c.Bundle != nil && checkBundle(c.Bundle, v) == nil {
		return installedFrom(c.Bundle), nil
	}
	return readInstalled(ctx, h, v)
}

// content is the content of a version for steps that need no program of it. Before
// its programs are copied, the bundle has the same.
func (c *cluster) content(ctx context.Context, h machine.Host, v pai.KubernetesVersion) (installed, error) {
	i, err := c.installed(ctx, h, v)
	if errors.Is(err, fs.ErrNotExist) && c.Bundle != nil && checkBundle(c.Bundle, v) == nil {
		return installedFrom(c.Bundle), nil
	}
	return i, err
}

// askKubeadm runs a script that uses $kubeadm of a version and needs no
// configuration.
func (c *cluster) askKubeadm(ctx context.Context, h machine.Host, v pai.KubernetesVersion, script string) (string, error) {
	if c.Kubeadm != nil {
		return c.Kubeadm(ctx, nil, script)
	}
	v, err := c.controlVersion(ctx, h, v)
	if err != nil {
		return "", err
	}
	return sh(ctx, h, "kubeadm=%s\n%s", layout.Program(v, "kubeadm"), script)
}

// diffFiles compares the current files of a role with its next ones.
func (c *cluster) diffFiles(ctx context.Context, h machine.Host, m config.Machine, s plan.Step) ([]plan.StepDiff, error) {
	role, from, err := rolesBefore(ctx, h, s)
	if err != nil {
		return nil, err
	}
	files, err := c.roleFiles(ctx, h, m, s.To.Kubernetes(), role, renderOptions{emulate: s.Emulate, reserve: s.Reserves()})
	if err != nil {
		return nil, fmt.Errorf("render %s of Kubernetes %s for %q: %w", role, s.To, m.Hostname, err)
	}
	changes, err := c.diffPrograms(ctx, h, s, role)
	if err != nil {
		return nil, err
	}
	for _, file := range sortedKeys(files) {
		change := plan.StepDiff{What: "file " + file, Action: plan.Created}
		if from != "" {
			was, err := h.ReadFile(ctx, strings.Replace(file, layout.VersionDir(s.To.Kubernetes())+"/", layout.VersionDir(from)+"/", 1))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return changes, err
			}
			if err == nil {
				change.Action = plan.Changed
				// A version reads its own directory, which is no change.
				before := strings.ReplaceAll(fingerprint.Unmark(string(was)), layout.VersionDir(from)+"/", layout.VersionDir(s.To.Kubernetes())+"/")
				if change.Fields = fileFields(file, before, files[file].content); len(change.Fields) == 0 {
					continue
				}
			}
		}
		changes = append(changes, change)
	}
	return changes, nil
}

// diffPrograms lists the programs of a role that have other content under the same
// version. Other changes of programs are changes of versions.
func (c *cluster) diffPrograms(ctx context.Context, h machine.Host, s plan.Step, r plan.Role) ([]plan.StepDiff, error) {
	if !slices.Contains(s.Differs, plan.DiffersPrograms) || c.Bundle == nil {
		return nil, nil
	}
	next, err := c.Bundle.ProgramDigests(ctx)
	if err != nil {
		return nil, err
	}
	report, err := helper.Inspect(ctx, h, inspect.Request{Parts: []inspect.Part{inspect.Programs, inspect.Roles}}, inspect.Programs, inspect.Roles)
	if err != nil {
		return nil, err
	}
	now := report.Programs[report.Roles[r].Link]
	var changes []plan.StepDiff
	for _, path := range sortedKeys(next) {
		if layout.IsProgramOf(r, path) && now[path] != next[path] {
			changes = append(changes, plan.StepDiff{What: "program " + path, Action: plan.Changed,
				Fields: []plan.FieldChange{{Path: "sha256", Old: cmp.Or(now[path], "unknown"), New: next[path]}}})
		}
	}
	return changes, nil
}

// diffPrepared compares the files that a machine is prepared with.
func (c *cluster) diffPrepared(ctx context.Context, h machine.Host, _ config.Machine, _ plan.Step) ([]plan.StepDiff, error) {
	files, err := preparedFiles(c.Config)
	if err != nil {
		return nil, err
	}
	return changedFiles(ctx, h, files)
}

// changedFiles compares files with those of a machine.
func changedFiles(ctx context.Context, h machine.Host, files map[string]preparedFile) ([]plan.StepDiff, error) {
	var changes []plan.StepDiff
	for _, file := range sortedKeys(files) {
		was, err := h.ReadFile(ctx, file)
		change := plan.StepDiff{What: "file " + file, Action: plan.Created}
		switch {
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return changes, err
		case err == nil && string(was) == files[file].content:
			continue
		case err == nil:
			change.Action, change.Fields = plan.Changed, fileFields(file, string(was), files[file].content)
		}
		changes = append(changes, change)
	}
	return changes, nil
}

// rolesBefore is the role of a step and the version that it runs now. Of two
// slots it is the one that runs, because both start in the same way.
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

// fileFields compares two versions of a file: structured files by field, others
// by line.
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

func (c *cluster) diffDNS(ctx context.Context, h machine.Host, _ config.Machine, s plan.Step) ([]plan.StepDiff, error) {
	objects, err := c.dnsObjects(ctx, h, s.To.Kubernetes())
	if err != nil {
		return nil, err
	}
	return c.diffObjects(ctx, objects, kube.ApplyOptions{Inventory: dnsInventory, Prune: true})
}

func (c *cluster) diffBootstrap(ctx context.Context, _ machine.Host, m config.Machine, s plan.Step) ([]plan.StepDiff, error) {
	objects, err := c.bootstrapObjects(m)
	if err != nil {
		return nil, err
	}
	return c.diffObjects(ctx, objects, kube.ApplyOptions{Inventory: bootstrapInventory})
}

func (c *cluster) diffObjects(ctx context.Context, objects []*unstructured.Unstructured, o kube.ApplyOptions) ([]plan.StepDiff, error) {
	k, err := c.Kube(ctx)
	if err != nil {
		return nil, err
	}
	return k.WithRetryTimeout(diffTimeout).Diff(ctx, objects, o)
}
