package check

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/metadata"
)

// eachNode judges every node that the API knows. known is false where they
// could not be asked for, which all then says.
func eachNode(ctx context.Context, w *world, judge func(*corev1.Node) Result) (all []Result, nodes []corev1.Node, known bool) {
	if !w.kubernetesRuns() {
		return nil, nil, false
	}
	nodes, err := w.api.nodes.get(ctx)
	if err != nil {
		return []Result{unknown("", err)}, nil, false
	}
	for i := range nodes {
		all = append(all, judge(&nodes[i]))
	}
	return all, nodes, true
}

func nodesReady(ctx context.Context, w *world) []Result {
	all, nodes, known := eachNode(ctx, w, nodeReady)
	if !known {
		return all
	}
	for _, m := range w.World.Machines {
		if m.Joined && !slices.ContainsFunc(nodes, func(n corev1.Node) bool { return n.Name == m.Name }) {
			all = append(all, failed(m.Name, "let it join again: paictl cluster k8s-bootup", "its kubelet has an identity, and the API knows no such node"))
		}
	}
	return all
}

// pressures are the conditions that name something that is wrong. Others, which
// programs besides Kubernetes set, mean what these like.
func pressures() []corev1.NodeConditionType {
	return []corev1.NodeConditionType{corev1.NodeMemoryPressure, corev1.NodeDiskPressure, corev1.NodePIDPressure, corev1.NodeNetworkUnavailable}
}

func nodeReady(n *corev1.Node) Result {
	var wrong []string
	said := false
	for _, c := range n.Status.Conditions {
		switch {
		case c.Type == corev1.NodeReady:
			said = true
			if c.Status != corev1.ConditionTrue {
				wrong = append(wrong, "not ready: "+c.Message)
			}
		case c.Status == corev1.ConditionTrue && slices.Contains(pressures(), c.Type):
			wrong = append(wrong, fmt.Sprintf("%s: %s", c.Type, c.Message))
		}
	}
	switch {
	case !said:
		return unknown(n.Name, fmt.Errorf("it has not said whether it is ready"))
	case len(wrong) > 0:
		return failed(n.Name, "see journalctl -u pai-kubelet on "+n.Name, "%s", strings.Join(wrong, "; "))
	default:
		return okay(n.Name, "ready")
	}
}

func nodesCordoned(ctx context.Context, w *world) []Result {
	all, _, _ := eachNode(ctx, w, func(n *corev1.Node) Result {
		by := ""
		if o := w.observed(n.Name).Node; o != nil && o.CordonedByPAI {
			by = o.CordonedBy
		}
		return cordoned(n, by)
	})
	return all
}

// cordoned judges one node; by is the operation of PAI's that cordoned it.
func cordoned(n *corev1.Node, by string) Result {
	switch {
	case !n.Spec.Unschedulable:
		return okay(n.Name, "takes pods")
	case by != "":
		return warning(n.Name, "paictl upgrade resume goes on, and takes it back; paictl upgrade abandon only takes it back", "PAI cordoned it in operation %s", by)
	default:
		return warning(n.Name, "PAI leaves it so; when it may take pods again: kubectl uncordon "+n.Name, "an operator cordoned it%s", cordonedBy(n))
	}
}

// cordonedBy reads who set the field, which the API server itself records.
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

// podOwners lists the pods that no controller would make again if their
// machine were lost. Only names travel: a cluster may have very many pods.
func podOwners(ctx context.Context, w *world) []Result {
	if !w.kubernetesRuns() {
		return nil
	}
	client, err := w.api.client.get(ctx)
	if err != nil {
		return []Result{unknown("", err)}
	}
	reader, err := metadata.NewForConfig(client.RESTConfig())
	if err != nil {
		return []Result{unknown("", err)}
	}
	var bare []string
	total := 0
	for next := ""; ; {
		list, err := reader.Resource(corev1.SchemeGroupVersion.WithResource("pods")).List(ctx, metav1.ListOptions{
			FieldSelector: "status.phase!=Succeeded,status.phase!=Failed", Limit: 2000, Continue: next})
		if err != nil {
			return []Result{unknown("", fmt.Errorf("list the pods: %w", err))}
		}
		total += len(list.Items)
		for i := range list.Items {
			if m := &list.Items[i]; metav1.GetControllerOf(m) == nil {
				bare = append(bare, m.Namespace+"/"+m.Name)
			}
		}
		if next = list.Continue; next == "" {
			return owners(bare, total)
		}
	}
}

func owners(bare []string, total int) []Result {
	var all []Result
	for _, name := range bare {
		all = append(all, warning(name, "nothing for an upgrade that leaves pods alone; before a machine is drained, save what it holds", "it has no controller: gone with its machine, nothing makes it again"))
	}
	if len(all) == 0 {
		all = append(all, okay("", "all %d pods have a controller", total))
	}
	return all
}

// servicesReady looks at PAI's services and at the cluster's own resolver.
func servicesReady(ctx context.Context, w *world) []Result {
	if !w.kubernetesRuns() {
		return nil
	}
	client, err := w.api.client.get(ctx)
	if err != nil {
		return []Result{unknown("", err)}
	}
	all := []Result{w.dnsReady(ctx, client)}
	for name, s := range w.World.Services {
		if s.Ready {
			all = append(all, okay(name, "ready, of release %s", s.Release))
		} else {
			all = append(all, failed(name, "see what its pods say; paictl service start applies it again", "not ready: %s", s.Message))
		}
	}
	if current := w.World.Current.Services; current != "" {
		for _, r := range w.Releases {
			if r.Services.Version != current {
				continue
			}
			for _, pin := range r.ServiceList {
				if _, there := w.World.Services[pin.Name]; !there {
					all = append(all, warning(pin.Name, "paictl service start "+pin.Name, "it is stopped"))
				}
			}
		}
	}
	return all
}

// checkedDNS is what the check of CoreDNS is about.
const checkedDNS = "cluster-dns"

func (w *world) dnsReady(ctx context.Context, client apiClient) Result {
	d, err := client.Clientset().AppsV1().Deployments("kube-system").Get(ctx, "coredns", metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return failed(checkedDNS, "paictl cluster k8s-bootup", "CoreDNS is not there, so no pod finds a service by its name")
	case err != nil:
		return unknown(checkedDNS, fmt.Errorf("read CoreDNS: %w", err))
	}
	return rolledOut(d)
}

func rolledOut(d *appsv1.Deployment) Result {
	wanted := int32(1)
	if d.Spec.Replicas != nil {
		wanted = *d.Spec.Replicas
	}
	switch {
	case d.Status.AvailableReplicas == 0:
		return failed(checkedDNS, "see what the pods of CoreDNS say", "none of %d replicas of CoreDNS answers", wanted)
	case d.Status.AvailableReplicas < wanted:
		return warning(checkedDNS, "see what the pods of CoreDNS say", "%d of %d replicas of CoreDNS answer", d.Status.AvailableReplicas, wanted)
	default:
		return okay(checkedDNS, "%d of %d replicas of CoreDNS answer", d.Status.AvailableReplicas, wanted)
	}
}
