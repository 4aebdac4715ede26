package cluster

import (
	"context"
	"fmt"
	"slices"
	"time"

	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/inspect/helper"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// replaceTimeout limits the replacement on the machine. The node reports the new
// version later.
const replaceTimeout = 90 * time.Second

// replaceKubelet replaces a kubelet in place. A transient unit on the machine does
// it, so a lost connection changes nothing. If the new kubelet does not start, the
// unit restores the old one.
func (c *cluster) replaceKubelet(ctx context.Context, h machine.Host, v pai.KubernetesVersion) error {
	before, err := helper.Parts(ctx, h, inspect.Containers)
	if err != nil {
		return err
	}
	script, err := embedded.ReadFile("scripts/replace-kubelet.sh")
	if err != nil {
		return err
	}
	const path = layout.StateDir + "/swap-kubelet.sh"
	if err := h.WriteFile(ctx, path, script, 0o755); err != nil {
		return err
	}
	if err := replaceOnMachine(ctx, h, path, v); err != nil {
		return withJournal(ctx, h, plan.RoleKubelet, fmt.Errorf("replace the kubelet on %q with that of Kubernetes %s: %w", h.Name(), v, err))
	}
	after, err := helper.Parts(ctx, h, inspect.Containers)
	if err != nil {
		return err
	}
	for _, container := range before.Activity.Containers {
		if !slices.Contains(after.Activity.Containers, container) {
			c.Progress("container %s on %s ended while its kubelet was replaced", container.ID, h.Name())
		}
	}
	return nil
}

// replaceOnMachine runs the script and waits for its end.
func replaceOnMachine(ctx context.Context, h machine.Host, script string, v pai.KubernetesVersion) error {
	return detached{what: "kubelet replacement", unit: layout.ReplaceKubeletUnit, log: "swap-kubelet.log",
		command: "/bin/sh " + script + " " + machine.Quote(string(v)), timeout: replaceTimeout}.run(ctx, h)
}
