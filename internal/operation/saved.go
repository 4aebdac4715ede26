package operation

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/session"
)

// Saved is an upgrade's preview as a file keeps it.
func Saved(on *session.Session, target plan.Target, p Preview) (plan.Saved, error) {
	s := newOperation(on)
	bundles := map[pai.Release]string{}
	for _, step := range p.Plan.Steps {
		b, err := s.bundleFor(step)
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
		Format: plan.SavedFormat, ClusterID: s.Config.Services.Cluster.Common.ClusterID,
		Made: time.Now().UTC().Format(time.RFC3339), By: session.Operator(),
		Target: target, Plan: p.Plan, Jobs: p.Impact,
		Basis: plan.BasisOf(p.world, bundles, files),
	}, nil
}

// digests tells configurations apart by what they say to the cluster: neither
// the versions, which the plan speaks of, nor how this operator reaches the
// machines.
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

// keeps is nil where what would be done now is exactly the saved plan, made
// from the same things.
func (s *operation) matchSaved(saved plan.Saved, p Preview) error {
	if id := s.Config.Services.Cluster.Common.ClusterID; saved.ClusterID != id {
		return pai.Errorf(pai.CodeRefused, "name the configuration of "+saved.ClusterID+" with -p DIR",
			"the plan is for cluster %q, and the configuration is of %q; nothing was done", saved.ClusterID, id)
	}
	now, err := Saved(s.Session, saved.Target, p)
	if err != nil {
		return err
	}
	if moved := plan.Moved(saved, now); len(moved) > 0 {
		return plan.MovedError("the plan that was saved on "+saved.Made+" by "+saved.By+" is not what would be done now",
			"plan again and look at it: paictl upgrade plan --save FILE", moved)
	}
	return nil
}
