package operation

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/session"
)

// Saved is a preview in the form of a saved plan.
func Saved(s *session.Session, target plan.Target, p Preview) (plan.Saved, error) {
	bundles := map[pai.Release]string{}
	for _, step := range p.Plan.Steps {
		b, err := bundleFor(s, step)
		if err != nil {
			return plan.Saved{}, err
		}
		if b != nil {
			bundles[b.Manifest().Metadata.Name] = b.Digest()
		}
	}
	files, err := digests(s.Config)
	if err != nil {
		return plan.Saved{}, err
	}
	return plan.Saved{
		Format: plan.SavedFormat, ClusterID: s.ClusterID(), Made: time.Now().UTC().Format(time.RFC3339), By: session.Operator(),
		Target: target, Plan: p.Plan, Jobs: p.Impact,
		Inputs: plan.PlanInputsOf(p.world, bundles, files),
	}, nil
}

// digests are the digests of the configuration files by name. They leave out
// the versions, which the plan names, and how this operator connects to machines.
func digests(c *config.Config) (map[string]string, error) {
	layout, kubernetes, services := c.Layout, c.Kubernetes, c.Services
	kubernetes.Version, services.Cluster.Common.Release, layout.SchemaVersion = "", "", 0
	layout.MachineList = nil
	for _, m := range c.Layout.MachineList {
		m.KeyfilePath, m.Username = "", ""
		layout.MachineList = append(layout.MachineList, m)
	}
	found := map[string]string{}
	for name, content := range map[string]any{
		"layout.yaml": layout, "kubernetes-configuration.yaml": kubernetes, "services-configuration.yaml": services,
	} {
		data, err := json.Marshal(content)
		if err != nil {
			return nil, fmt.Errorf("compare %s: %w", name, err)
		}
		sum := sha256.Sum256(data)
		found[name] = "sha256:" + hex.EncodeToString(sum[:])
	}
	return found, nil
}

// matchSaved is the stage that refuses a plan that differs from the saved plan,
// or that was made from different inputs. It reports jobs that started since.
func (o *operation) matchSaved(context.Context) error {
	saved := o.options.SavedPlan
	if saved == nil {
		return nil
	}
	if id := o.ClusterID(); saved.ClusterID != id {
		return pai.Errorf(pai.CodeRefused, "name the configuration of cluster "+saved.ClusterID+" with -p DIR",
			"the plan is for cluster %q, and the configuration is for cluster %q; nothing was changed", saved.ClusterID, id)
	}
	now, err := Saved(o.Session, saved.Target, o.preview)
	if err != nil {
		return err
	}
	if changes := plan.Changes(*saved, now); len(changes) > 0 {
		return plan.PlanChangedError("the plan saved at "+saved.Made+" by "+saved.By+" is out of date",
			"save and review a new plan; run: paictl upgrade plan --save FILE", changes)
	}
	if jobs := saved.NewJobs(o.preview.Impact); len(jobs) > 0 {
		o.Progressf("jobs that started after the plan was saved: %s", strings.Join(jobs, ", "))
	}
	return nil
}
