package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/inspect/helper"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

const (
	occupiedTimeout = 30 * time.Second
	// shownPods is how many pods of a machine an error names.
	shownPods = 5
)

// Occupied returns the machines that run something for another cluster than the one
// whose control plane control is. If control has no authority, there is no cluster
// yet, or its control plane was lost, and whatever runs on a machine is of another one.
func Occupied(ctx context.Context, control machine.Host, hosts map[string]machine.Host, names []string) ([]plan.OccupiedMachine, error) {
	ca, err := control.ReadFile(ctx, layout.PKIDir+"/ca.crt")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the certificate authority of the cluster on %q: %w", control.Name(), err)
	}
	list := make([]plan.OccupiedMachine, len(names))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(presencesAtOnce)
	for i, name := range names {
		if hosts[name] == nil {
			continue // unreachable
		}
		group.Go(func() (err error) {
			list[i].Name = name
			list[i].Has, err = occupiedBy(ctx, hosts[name], ca)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list, func(m plan.OccupiedMachine) bool { return m.Has == "" }), nil
}

// occupiedBy says what a machine runs for another cluster than the one with this
// authority; empty for nothing. Without an authority, everything is of another one.
// Without an identity, a kubelet of this cluster is joining again.
func occupiedBy(ctx context.Context, h machine.Host, ca []byte) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, occupiedTimeout, fmt.Errorf("machine %s did not report within %s", h.Name(), occupiedTimeout))
	defer cancel()
	kubeconfig, err := h.ReadFile(ctx, layout.KubeletConf)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the identity of the kubelet on %q: %w", h.Name(), err)
	}
	if len(ca) > 0 && (err != nil || hasAuthority(kubeconfig, ca)) {
		return "", nil
	}
	report, err := helper.Inspect(ctx, h, inspect.Request{Parts: []inspect.Part{inspect.Roles, inspect.Containers}, Only: []plan.Role{plan.RoleKubelet}},
		inspect.Roles, inspect.Containers)
	if err != nil {
		return "", err
	}
	return activityOf(report), nil
}

// activityOf names a running kubelet and the pods whose containers run.
func activityOf(r inspect.Report) string {
	var has, jobs []string
	others := 0
	for _, c := range r.Activity.Containers {
		name := c.Pod
		if name == "" {
			name = "container " + c.ID
		}
		switch {
		case !c.OfJob():
			others++
		case !slices.Contains(jobs, name):
			jobs = append(jobs, name)
		}
	}
	if kubelet := stateOf(r.Roles[plan.RoleKubelet]); r.Roles[plan.RoleKubelet].PID != 0 {
		has = append(has, strings.TrimSpace("a kubelet "+string(kubelet.Running)))
	}
	if len(jobs) > shownPods {
		jobs = append(jobs[:shownPods], fmt.Sprintf("and %d more", len(jobs)-shownPods))
	}
	if len(jobs) > 0 {
		has = append(has, "pods of jobs ("+strings.Join(jobs, ", ")+")")
	}
	if others > 0 {
		has = append(has, fmt.Sprintf("%d other containers", others))
	}
	return strings.Join(has, ", ")
}

// refuseOccupied refuses to let a machine join that runs something for another
// cluster: its kubelet would end each container that this cluster does not know.
func refuseOccupied(ctx context.Context, h machine.Host, ca []byte) error {
	has, err := occupiedBy(ctx, h, ca)
	if err != nil || has == "" {
		return err
	}
	return pai.Errorf(pai.CodeRefused, "clean the machine with the configuration of the other cluster, or remove it from layout.yaml",
		"machine %q runs for another cluster: %s", h.Name(), has)
}
