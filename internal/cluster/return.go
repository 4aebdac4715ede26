package cluster

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/poll"
)

// readyTimeout is how long a node has to become ready after the last step of its machine. A
// kubelet that starts reports within seconds; its network can take longer.
const readyTimeout = 3 * time.Minute

// returner ends the maintenance of a machine. A step with a version returns a machine that
// was in maintenance: it must run. One without cancels a maintenance that waits for jobs.
type returner struct{ *cluster }

func (c returner) Done(ctx context.Context, s plan.Step) (bool, error) {
	recorded, err := c.isRecorded(ctx, s.Target)
	if err != nil || recorded {
		return false, err
	}
	node, _, err := c.node(ctx, s.Target)
	if err != nil || s.To != "" && (node == nil || checkReady(node) != nil) {
		return false, err
	}
	return node == nil || node.Annotations[pai.AnnotationMaintenance] == "" && node.Labels[pai.LabelMaintenance] == "" && node.Annotations[pai.AnnotationInMaintenance] == "" && CordonedByPAI(node) == "", nil
}

// Do removes the record first, and the cordon last: new jobs start when everything else
// is done. The cordon can also be of a step of an earlier return that failed.
func (c returner) Do(ctx context.Context, s plan.Step) error {
	if s.To != "" {
		if err := c.awaitReady(ctx, s.Target); err != nil {
			return err
		}
	}
	if err := c.changeMaintenance(ctx, func(all map[string]pai.Maintenance) { delete(all, s.Target) }); err != nil {
		return err
	}
	node, core, err := c.node(ctx, s.Target)
	if err != nil || node == nil {
		return err
	}
	err = kube.PatchNode(ctx, core, s.Target, returnedNode)
	if err != nil {
		return fmt.Errorf("end the maintenance of node %q: %w", s.Target, err)
	}
	return nil
}

// returnedNode is the patch that removes the marks of a maintenance, and the cordon if PAI
// set it.
func returnedNode(node *corev1.Node) map[string]any {
	patch := map[string]any{"metadata": map[string]any{"labels": map[string]any{pai.LabelMaintenance: nil}, "annotations": map[string]any{
		pai.AnnotationMaintenance: nil, pai.AnnotationInMaintenance: nil, pai.AnnotationCordoned: nil}}}
	ours := node.Annotations[pai.AnnotationMaintenance] != "" || node.Annotations[pai.AnnotationCordoned] != ""
	if node.Spec.Unschedulable && ours && setBy(node, pai.FieldManager) {
		patch["spec"] = map[string]any{"unschedulable": nil}
	}
	return patch
}

// awaitReady waits until the node of a machine is ready. Jobs could not start there, and
// nothing would report that after its return.
func (c *cluster) awaitReady(ctx context.Context, name string) error {
	wait := poll.Wait{For: "node " + name + " to be ready", Timeout: readyTimeout, Every: time.Second}
	err := wait.Until(ctx, func(ctx context.Context) (bool, error) {
		switch node, _, err := c.node(ctx, name); {
		case err != nil:
			return false, err
		case node == nil:
			return false, fmt.Errorf("node %s does not exist", name)
		default:
			err := checkReady(node)
			return err == nil, err
		}
	})
	if err != nil {
		return pai.Errorf(pai.CodeFailed, "for the cause, run on "+name+": journalctl -u pai-kubelet; then run the same command again", "%s stays in maintenance: %w", name, err)
	}
	return nil
}
