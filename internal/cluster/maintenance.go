package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// maintenanceRecords is the content of layout.MaintenanceFile. The file outlives an
// outage of the API and a restore of etcd.
type maintenanceRecords struct {
	Machines map[string]pai.Maintenance `json:"machines"`
}

// Maintained reads the machines in maintenance, by name.
func Maintained(ctx context.Context, records Records) (map[string]pai.Maintenance, error) {
	data, err := records.ReadFile(ctx, layout.MaintenanceFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the machines in maintenance: %w", err)
	}
	var r maintenanceRecords
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("read the machines in maintenance (%s): %w", layout.MaintenanceFile, err)
	}
	return r.Machines, nil
}

// changeMaintenance changes the record. The operation holds the lock of the cluster.
func (c *cluster) changeMaintenance(ctx context.Context, change func(map[string]pai.Maintenance)) error {
	records, err := c.records()
	if err != nil {
		return err
	}
	all, err := Maintained(ctx, records)
	if err != nil {
		return err
	}
	if all == nil {
		all = map[string]pai.Maintenance{}
	}
	change(all)
	data, err := json.MarshalIndent(maintenanceRecords{all}, "", "  ")
	if err != nil {
		return err
	}
	if err := records.WriteFile(ctx, layout.MaintenanceFile, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("record the machines in maintenance: %w", err)
	}
	return nil
}

// isRecorded reports whether a machine is recorded as in maintenance.
func (c *cluster) isRecorded(ctx context.Context, name string) (bool, error) {
	records, err := c.records()
	if err != nil {
		return false, err
	}
	all, err := Maintained(ctx, records)
	_, found := all[name]
	return found, err
}

// waitsForMaintenance reports whether a machine is cordoned for a maintenance that is not
// recorded yet.
func (c *cluster) waitsForMaintenance(ctx context.Context, name string) (bool, error) {
	recorded, err := c.isRecorded(ctx, name)
	if err != nil || recorded {
		return false, err
	}
	node, _, err := c.node(ctx, name)
	return node != nil && node.Annotations[pai.AnnotationMaintenance] != "" && node.Annotations[pai.AnnotationInMaintenance] == "", err
}

// node reads the node of a step; nil if there is none.
func (c *cluster) node(ctx context.Context, name string) (*corev1.Node, kubernetes.Interface, error) {
	k, err := c.Kube(ctx)
	if err != nil {
		return nil, nil, err
	}
	node, err := k.Clientset().CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, k.Clientset(), nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read node %q: %w", name, err)
	}
	return node, k.Clientset(), nil
}

// maintenanceCordon keeps new jobs off a machine until it returns.
type maintenanceCordon struct{ *cluster }

func (c maintenanceCordon) Done(ctx context.Context, s plan.Step) (bool, error) {
	node, _, err := c.node(ctx, s.Target)
	return err == nil && (node == nil || isCordonedForMaintenance(node)), err
}

// isCordonedForMaintenance reports whether no job and no pod of CoreDNS starts on a node
// until the return of its machine.
func isCordonedForMaintenance(n *corev1.Node) bool {
	return n.Spec.Unschedulable && n.Annotations[pai.AnnotationMaintenance] != "" && n.Labels[pai.LabelMaintenance] != ""
}

// isInMaintenance reports whether a node has all marks of a recorded maintenance.
func isInMaintenance(n *corev1.Node) bool {
	return isCordonedForMaintenance(n) && n.Annotations[pai.AnnotationInMaintenance] != ""
}

// Do takes a cordon of PAI over from the operation that set it. A cordon of an operator
// stays one: the return of the machine does not remove it.
func (c maintenanceCordon) Do(ctx context.Context, s plan.Step) error {
	_, core, err := c.node(ctx, s.Target)
	if err != nil {
		return err
	}
	op, err := c.Operation()
	if err != nil {
		return err
	}
	err = kube.PatchNode(ctx, core, s.Target, func(node *corev1.Node) map[string]any {
		return cordoned(node, map[string]any{pai.AnnotationMaintenance: op.ID, pai.AnnotationCordoned: nil})
	})
	if err != nil {
		return fmt.Errorf("cordon node %q for maintenance: %w", s.Target, err)
	}
	return nil
}

// cordoned is the patch that sets annotations of a node and the label of maintenance, and
// cordons it unless it is.
func cordoned(node *corev1.Node, annotations map[string]any) map[string]any {
	patch := map[string]any{"metadata": map[string]any{"annotations": annotations, "labels": map[string]any{pai.LabelMaintenance: "true"}}}
	if !node.Spec.Unschedulable {
		patch["spec"] = map[string]any{"unschedulable": true}
	}
	return patch
}

// maintainer records that a machine is in maintenance.
type maintainer struct{ *cluster }

func (c maintainer) Done(ctx context.Context, s plan.Step) (bool, error) {
	recorded, err := c.isRecorded(ctx, s.Target)
	if err != nil || !recorded {
		return false, err
	}
	node, _, err := c.node(ctx, s.Target)
	return err == nil && (node == nil || isInMaintenance(node)), err
}

// Do moves the pods of services to other machines, and marks the node. The file is
// written last: other operations then leave the machine alone.
func (c maintainer) Do(ctx context.Context, s plan.Step) error {
	op, err := c.Operation()
	if err != nil {
		return err
	}
	node, core, err := c.node(ctx, s.Target)
	if err != nil {
		return err
	}
	record := pai.Maintenance{Since: time.Now().UTC().Truncate(time.Second), By: op.By, Operation: op.ID}
	if node != nil {
		k, err := c.Kube(ctx)
		if err != nil {
			return err
		}
		if err := k.MovePods(ctx, s.Target, c.Hosts[s.Target] == nil); err != nil {
			return err
		}
		// The scheduler can bind a pod for a moment after the cordon.
		if drained, err := c.isDrained(ctx, s.Target); err != nil {
			return err
		} else if !drained {
			return startedMeanwhile(s.Target)
		}
		err = kube.PatchNode(ctx, core, s.Target, func(*corev1.Node) map[string]any {
			return map[string]any{"metadata": map[string]any{"annotations": map[string]any{
				pai.AnnotationInMaintenance: record.Since.Format(time.RFC3339)}}}
		})
		if err != nil {
			return fmt.Errorf("mark node %q as in maintenance: %w", s.Target, err)
		}
	}
	return c.changeMaintenance(ctx, func(all map[string]pai.Maintenance) {
		if _, found := all[s.Target]; !found { // else since when it is
			all[s.Target] = record
		}
	})
}

// markMaintained makes the marks on the nodes those of the records after etcd was restored.
// Its snapshot can be older than a maintenance, and jobs would start there; or a machine
// that is in maintenance in the snapshot has returned, and no job would. A machine that
// waits for its jobs in the snapshot stays cordoned: it has no record, and might still wait.
func (c *cluster) markMaintained(ctx context.Context) error {
	all, nodes, err := c.recordsAndNodes(ctx)
	if err != nil {
		return err
	}
	k, err := c.Kube(ctx)
	if err != nil {
		return err
	}
	for i := range nodes {
		name := nodes[i].Name
		record, recorded := all[name]
		if hasMarksOf(&nodes[i], recorded) {
			continue
		}
		err := kube.PatchNode(ctx, k.Clientset(), name, func(node *corev1.Node) map[string]any {
			if !recorded {
				return returnedNode(node)
			}
			return cordoned(node, map[string]any{pai.AnnotationMaintenance: record.Operation,
				pai.AnnotationInMaintenance: record.Since.Format(time.RFC3339), pai.AnnotationCordoned: nil})
		})
		if err != nil {
			return fmt.Errorf("change the marks of maintenance of node %q: %w", name, err)
		}
	}
	return nil
}

// hasMarksOf reports whether a node has the marks of a recorded maintenance, or none of one
// that ended.
func hasMarksOf(n *corev1.Node, recorded bool) bool {
	return recorded && isInMaintenance(n) || !recorded && n.Annotations[pai.AnnotationInMaintenance] == ""
}

// recordsAndNodes are the machines in maintenance, as recorded, and all nodes.
func (c *cluster) recordsAndNodes(ctx context.Context) (map[string]pai.Maintenance, []corev1.Node, error) {
	records, err := c.records()
	if err != nil {
		return nil, nil, err
	}
	all, err := Maintained(ctx, records)
	if err != nil {
		return nil, nil, err
	}
	k, err := c.Kube(ctx)
	if err != nil {
		return nil, nil, err
	}
	nodes, err := k.Clientset().CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, nil, fmt.Errorf("list the nodes: %w", err)
	}
	return all, nodes.Items, nil
}

// withMarks is the doer of a step that also marks the machines in maintenance. Later steps
// start the scheduler.
type withMarks struct {
	plan.Doer
	cluster *cluster
}

// Done also wants the marks on all nodes of machines in maintenance, and on no other. A
// machine without a node takes no jobs.
func (d withMarks) Done(ctx context.Context, s plan.Step) (bool, error) {
	if ok, err := d.Doer.Done(ctx, s); err != nil || !ok {
		return false, err
	}
	all, nodes, err := d.cluster.recordsAndNodes(ctx)
	for i := range nodes {
		if _, recorded := all[nodes[i].Name]; !hasMarksOf(&nodes[i], recorded) {
			return false, err
		}
	}
	return err == nil, err
}
