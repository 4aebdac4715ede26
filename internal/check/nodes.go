package check

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/metadata"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/kube"
)

func nodeChecks() []Check {
	return []Check{
		{"node-ready", "every node is ready and has no pressure", Upgrade, onCluster(nodesReady)},
		{cordonedCheck, "cordoned nodes, and who cordoned them", Upgrade, onNodes(nodeCordoned)},
		{"pod-owners", "pods without a controller", Upgrade, onAPI(podOwners)},
	}
}

func nodesReady(ctx context.Context, w *world) ([]Result, error) {
	nodes, err := w.api.nodes.get(ctx)
	if err != nil {
		return nil, err
	}
	var all []Result
	for i := range nodes {
		inLayout := slices.ContainsFunc(w.Config.Layout.MachineList, func(m config.Machine) bool { return m.Hostname == nodes[i].Name })
		if inLayout { // else the check node-unconfigured reports it
			all = append(all, nodeReady(&nodes[i]))
		}
	}
	for _, m := range w.World.Machines {
		if m.Joined && !slices.ContainsFunc(nodes, func(n corev1.Node) bool { return n.Name == m.Name }) {
			all = append(all, failed(m.Name, "join the machine again; run: paictl cluster k8s-bootup", "the machine has a kubelet identity, but the API has no such node"))
		}
	}
	return all, nil
}

// pressures are the conditions of Kubernetes that report a problem. The meaning of
// conditions of other programs is unknown.
var pressures = []corev1.NodeConditionType{corev1.NodeMemoryPressure, corev1.NodeDiskPressure, corev1.NodePIDPressure, corev1.NodeNetworkUnavailable}

func nodeReady(n *corev1.Node) Result {
	var problems []string
	reported := false
	for _, c := range n.Status.Conditions {
		switch {
		case c.Type == corev1.NodeReady:
			reported = true
			if c.Status != corev1.ConditionTrue {
				problems = append(problems, "not ready: "+c.Message)
			}
		case c.Status == corev1.ConditionTrue && slices.Contains(pressures, c.Type):
			problems = append(problems, fmt.Sprintf("%s: %s", c.Type, c.Message))
		}
	}
	if !reported {
		return unknownf(n.Name, "the node has not reported whether it is ready")
	}
	return summary(n.Name, "for the cause, run on "+n.Name+": journalctl -u pai-kubelet", problems, nil, "ready")
}

const cordonedCheck = "node-cordoned"

func nodeCordoned(w *world, n *corev1.Node) Result {
	if m := w.observed(n.Name); m.InMaintenance() {
		text := "cordoned for maintenance, and not yet in it: jobs still ran there"
		if m.Maintenance != nil {
			text = m.Maintenance.String()
		}
		return warning(n.Name, "when the machine can run jobs again, run: paictl machine return "+n.Name, "%s", text)
	}
	by := ""
	if o := w.observed(n.Name).Node; o != nil && o.CordonedByPAI {
		by = o.CordonedBy
	}
	return cordoned(n, by)
}

// cordoned evaluates one node. by is the PAI operation that cordoned it.
func cordoned(n *corev1.Node, by string) Result {
	switch {
	case !n.Spec.Unschedulable:
		return okay(n.Name, "not cordoned")
	case by != "":
		return warning(n.Name, "to continue the upgrade, run: paictl upgrade resume; to abandon it and uncordon the machine, run: paictl upgrade abandon", "cordoned by PAI operation %s", by)
	default:
		return warning(n.Name, "PAI does not change this cordon; to remove it, run: kubectl uncordon "+n.Name, "cordoned by an operator%s", cordonedBy(n))
	}
}

// cordonedBy returns which client set the field, as the API server recorded it.
func cordonedBy(n *corev1.Node) string {
	for _, e := range n.ManagedFields {
		if e.FieldsV1 != nil && e.Subresource == "" && bytes.Contains(e.FieldsV1.GetRawBytes(), []byte(`"f:unschedulable"`)) {
			text := ", with " + e.Manager
			if e.Time != nil {
				text += ", " + date(e.Time.Time)
			}
			return text
		}
	}
	return ""
}

// podOwners lists the pods that no controller re-creates if their machine fails. It
// reads only metadata, because a cluster can have very many pods.
func podOwners(ctx context.Context, _ *world, client *kube.Client) ([]Result, error) {
	reader, err := metadata.NewForConfig(client.RESTConfig())
	if err != nil {
		return nil, err
	}
	var bare []string
	total := 0
	for next := ""; ; {
		list, err := reader.Resource(corev1.SchemeGroupVersion.WithResource("pods")).List(ctx, metav1.ListOptions{
			FieldSelector: "status.phase!=Succeeded,status.phase!=Failed", Limit: 2000, Continue: next})
		if err != nil {
			return nil, fmt.Errorf("list the pods: %w", err)
		}
		total += len(list.Items)
		for i := range list.Items {
			if m := &list.Items[i]; metav1.GetControllerOf(m) == nil {
				bare = append(bare, m.Namespace+"/"+m.Name)
			}
		}
		if next = list.Continue; next == "" {
			return owners(bare, total), nil
		}
	}
}

func owners(bare []string, total int) []Result {
	var all []Result
	for _, name := range bare {
		all = append(all, warning(name, "an upgrade does not affect it; save its data before you drain its machine", "the pod has no controller, so nothing re-creates it if its machine fails"))
	}
	return orOkay(all, "all %d pods have a controller", total)
}
