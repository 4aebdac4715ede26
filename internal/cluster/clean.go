package cluster

import (
	"context"
	"fmt"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/plan"
)

// cleanDone reports whether nothing of Kubernetes runs or starts on a machine,
// and no container is left.
func (c *cluster) cleanDone(ctx context.Context, h machine.Host, _ config.Machine, s plan.Step) (bool, error) {
	left := ""
	if s.Wipe {
		// The helper comes back with the next look at the machine.
		left = "\nls -d " + layout.ProgramsDir + "/* 2>/dev/null | grep -vx " + layout.HelperDir + " || :\nls -d " + quoteAll([]string{
			layout.ConfigDir, layout.KubernetesDir, layout.KubeletDir, layout.EtcdDir, layout.ContainerdDir,
		}) + " 2>/dev/null || :"
	}
	out, err := sh(ctx, h, "%s", `
ls -d `+layout.RolesDir+`/* `+layout.UnitsDir+`/pai-* `+layout.UnitsDir+`/multi-user.target.wants/pai-* 2>/dev/null || :
ls -d /proc/[0-9]*/exe 2>/dev/null | while read -r exe; do
    case $(readlink "$exe") in `+layout.ProgramsDir+`/*/bin/*) echo "$exe" ;; esac
done`+left)
	return out == "", err
}

// clean removes Kubernetes from a machine: its units, its containers, and their
// kernel settings. Without Wipe, the identity of the cluster stays: the data of
// etcd, the certificates, the encryption key, the identity of the kubelet, and
// the programs and images.
func (c *cluster) clean(ctx context.Context, h machine.Host, _ config.Machine, s plan.Step) error {
	script, err := embedded.ReadFile("scripts/clean.sh")
	if err != nil {
		return err
	}
	if _, err := h.Run(ctx, machine.Command{Script: string(script)}); err != nil {
		return fmt.Errorf("remove Kubernetes from %q: %w", h.Name(), err)
	}
	if !s.Wipe {
		return nil
	}
	wipe, err := embedded.ReadFile("scripts/wipe.sh")
	if err != nil {
		return err
	}
	if _, err := h.Run(ctx, machine.Command{Script: string(wipe)}); err != nil {
		return fmt.Errorf("remove the PAI data from %q: %w", h.Name(), err)
	}
	return nil
}
