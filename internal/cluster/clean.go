package cluster

import (
	"context"
	"fmt"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/plan"
)

// cleanDone reports whether nothing of Kubernetes runs on a machine, or starts
// there, and its containers are gone.
func (c *cluster) cleanDone(ctx context.Context, s plan.Step) (bool, error) {
	h, _, err := c.target(s)
	if err != nil {
		return false, err
	}
	left := ""
	if s.Wipe {
		left = "\nls -d " + quoteAll([]string{
			layout.ProgramsDir, layout.ConfigDir, layout.KubernetesDir, layout.KubeletDir, layout.EtcdDir, layout.ContainerdDir,
		}) + " 2>/dev/null || :"
	}
	out, err := sh(ctx, h, "%s", `
ls -d `+layout.RolesDir+`/* `+layout.UnitsDir+`/pai-* `+layout.UnitsDir+`/multi-user.target.wants/pai-* 2>/dev/null || :
ls -d /proc/[0-9]*/exe 2>/dev/null | while read -r exe; do
    case $(readlink "$exe") in `+layout.ProgramsDir+`/*/bin/*) echo "$exe" ;; esac
done`+left)
	return out == "", err
}

// clean takes Kubernetes off a machine: its units, its containers, and what
// they set in the kernel. Without Wipe, what makes the cluster this cluster
// stays: etcd's data, the certificates, the encryption key, kubelet's
// identity, and with them programs and images.
func (c *cluster) clean(ctx context.Context, s plan.Step) error {
	h, _, err := c.target(s)
	if err != nil {
		return err
	}
	script, err := embedded.ReadFile("scripts/clean.sh")
	if err != nil {
		return err
	}
	if _, err := h.Run(ctx, machine.Command{Script: string(script)}); err != nil {
		return fmt.Errorf("take Kubernetes off %q: %w", h.Name(), err)
	}
	if !s.Wipe {
		return nil
	}
	wipe, err := embedded.ReadFile("scripts/wipe.sh")
	if err != nil {
		return err
	}
	if _, err := h.Run(ctx, machine.Command{Script: string(wipe)}); err != nil {
		return fmt.Errorf("remove everything of PAI's from %q: %w", h.Name(), err)
	}
	return nil
}
