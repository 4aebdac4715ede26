package cluster

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/poll"
)

// reportTimeout is how long kubelets have to report to a restored API. They do so
// every ten seconds (nodeStatusUpdateFrequency).
const reportTimeout = time.Minute

// awaitReports waits until the kubelets have reported their versions. A restored
// API shows the state of the snapshot, with old kubelet versions. Unreachable
// machines are skipped: their nodes become NotReady. So are those in maintenance.
func (c *cluster) awaitReports(ctx context.Context) error {
	versions := map[string]string{} // of upstream, by node
	records, err := c.records()
	if err != nil {
		return err
	}
	maintained, err := Maintained(ctx, records)
	if err != nil {
		return err
	}
	for name, h := range c.Hosts {
		if _, skip := maintained[name]; skip || h == nil {
			continue
		}
		state, err := roleState(ctx, h, plan.RoleKubelet)
		if err != nil {
			c.Progress("kubelet version on %s unknown, not waiting for its report: %v", name, err)
			continue
		}
		if state.Running == "" {
			continue
		}
		i, err := readInstalled(ctx, h, state.Running)
		if err != nil {
			return err
		}
		versions[name] = i.Upstream
	}
	k, err := c.Kube(ctx)
	if err != nil {
		return err
	}
	wait := poll.Wait{For: "the kubelets to report to the restored API", Timeout: reportTimeout, Every: 500 * time.Millisecond}
	return wait.Until(ctx, func(ctx context.Context) (bool, error) {
		for name, version := range versions {
			node, err := k.Clientset().CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				continue // it joined after the snapshot was taken
			}
			if err != nil {
				return false, fmt.Errorf("read node %q: %w", name, err)
			}
			if got := node.Status.NodeInfo.KubeletVersion; got != version {
				return false, fmt.Errorf("node %s reports kubelet %q, not %q", name, got, version)
			}
		}
		return true, nil
	})
}
