package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// gpuStatus is what the agent for GPUs writes about itself (internal/gpu/agent).
type gpuStatus struct {
	PID        int    `json:"pid"`
	Registered bool   `json:"registered"`
	Problem    string `json:"problem"`
}

// gpuHealth fails if the agent for GPUs does not run, or if the kubelet does not know it.
// A driver that does not work is no fault of the agent: it waits for one.
func gpuHealth(ctx context.Context, h machine.Host) error {
	out, err := sh(ctx, h, "systemctl is-active -q %[1]s\nsystemctl show -p MainPID --value %[1]s\ncat %[2]s 2>/dev/null || :",
		layout.Unit(plan.RoleGPU), layout.GPUStatusFile)
	if err != nil {
		return fmt.Errorf("%s is not active: %w", layout.Unit(plan.RoleGPU), err)
	}
	return gpuReady(out)
}

// gpuReady reads the main process of the unit, and the status of the agent.
func gpuReady(out string) error {
	number, text, _ := strings.Cut(out, "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(number))
	if err != nil {
		return fmt.Errorf("read the process of %s: %w", layout.Unit(plan.RoleGPU), err)
	}
	var s gpuStatus
	if strings.TrimSpace(text) == "" {
		return fmt.Errorf("the agent has not written %s yet", layout.GPUStatusFile)
	}
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return fmt.Errorf("read %s: %w", layout.GPUStatusFile, err)
	}
	switch {
	case s.PID != pid:
		return fmt.Errorf("%s is of process %d, which ended; the agent is process %d", layout.GPUStatusFile, s.PID, pid)
	case !s.Registered && s.Problem != "":
		return fmt.Errorf("the kubelet does not know the agent yet, which waits for the driver: %s", s.Problem)
	case !s.Registered:
		return errors.New("the kubelet does not know the agent yet")
	}
	return nil
}

// gpuRemoved reports whether nothing of the agent for GPUs is left.
func (c *cluster) gpuRemoved(ctx context.Context, h machine.Host, _ config.Machine, s plan.Step) (bool, error) {
	if err := onlyGPU(s); err != nil {
		return false, err
	}
	state, err := roleState(ctx, h, s.Role)
	if err != nil || state != (plan.RoleState{}) {
		return false, err
	}
	out, err := sh(ctx, h, "for f in %s %s %s; do [ ! -e $f ] || echo $f; done", layout.UnitFile(s.Role), layout.GPUSpecFile, layout.GPUMetricsFile)
	return out == "", err
}

// removeGPU stops the agent for GPUs and removes what it wrote. Containers keep their
// GPUs: the kubelet stores them, and the container runtime read the file when it made
// the container. Only a container that starts again in its pod needs the file.
func (c *cluster) removeGPU(ctx context.Context, h machine.Host, _ config.Machine, s plan.Step) error {
	if err := onlyGPU(s); err != nil {
		return err
	}
	unit := layout.Unit(s.Role)
	_, err := sh(ctx, h, `SYSTEMD_OFFLINE=1 systemctl disable -q %[1]s 2>/dev/null || :
[ ! -e %[2]s ] || systemctl stop %[1]s
rm -f %[2]s %[3]s %[4]s %[5]s %[6]s
systemctl daemon-reload
systemctl reset-failed %[1]s 2>/dev/null || :`,
		unit, layout.UnitFile(s.Role), layout.RoleLink(s.Role), layout.GPUSpecFile, layout.GPUMetricsFile, layout.GPUStatusFile)
	if err != nil {
		return fmt.Errorf("remove the agent for GPUs from %q: %w", h.Name(), err)
	}
	return nil
}

func onlyGPU(s plan.Step) error {
	if s.Role != plan.RoleGPU {
		return pai.Errorf(pai.CodeFailed, "use the paictl that made the plan", "the role %q cannot be removed", s.Role)
	}
	return nil
}
