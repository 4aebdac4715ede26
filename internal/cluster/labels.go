package cluster

import (
	"context"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// KindOf is the kind of a machine in the configuration.
func KindOf(cfg *config.Config, m config.Machine) plan.MachineKind {
	kind := plan.MachineKind{SKU: m.MachineType}
	if sku := cfg.Layout.MachineSKU[m.MachineType]; sku.GPU != nil {
		kind.GPUs = sku.GPU.Count
	}
	return kind
}

// NodeKind is the kind that a node has.
func NodeKind(node *corev1.Node) plan.MachineKind {
	gpus, err := strconv.Atoi(node.Annotations[pai.AnnotationMachineGPUs])
	if err != nil {
		gpus = 0 // what is no number is written again
	}
	return plan.MachineKind{SKU: node.Labels[pai.LabelMachineSKU], GPUs: gpus}
}

// labeler brings the kind of a machine to its node. It needs only the API: kubelets do
// not restart for labels.
type labeler struct{ *cluster }

func (c labeler) want(s plan.Step) (plan.MachineKind, error) {
	m, found := c.Config.FindMachine(s.Target)
	if !found {
		return plan.MachineKind{}, fmt.Errorf("machine %q not found in the configuration", s.Target)
	}
	return KindOf(c.Config, m), nil
}

func (c labeler) Done(ctx context.Context, s plan.Step) (bool, error) {
	want, err := c.want(s)
	if err != nil {
		return false, err
	}
	k, err := c.Kube(ctx)
	if err != nil {
		return false, err
	}
	node, err := k.Clientset().CoreV1().Nodes().Get(ctx, s.Target, metav1.GetOptions{})
	if err != nil {
		return false, fmt.Errorf("read node %q: %w", s.Target, err)
	}
	return NodeKind(node) == want, nil
}

func (c labeler) Do(ctx context.Context, s plan.Step) error {
	want, err := c.want(s)
	if err != nil {
		return err
	}
	k, err := c.Kube(ctx)
	if err != nil {
		return err
	}
	core := k.Clientset()
	node, err := core.CoreV1().Nodes().Get(ctx, s.Target, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read node %q: %w", s.Target, err)
	}
	if have := NodeKind(node); have.SKU != "" && have.SKU != want.SKU {
		if err := unchosen(ctx, core, s.Target); err != nil {
			return err
		}
	}
	err = kube.PatchNode(ctx, core, s.Target, func(*corev1.Node) map[string]any { return kindPatch(want) })
	if err != nil {
		return fmt.Errorf("label node %q: %w", s.Target, err)
	}
	return nil
}

// kindPatch sets a kind, or removes it if there is none.
func kindPatch(kind plan.MachineKind) map[string]any {
	var sku, gpus any
	if kind.SKU != "" {
		sku = kind.SKU
	}
	if kind.GPUs > 0 {
		gpus = strconv.Itoa(kind.GPUs)
	}
	return map[string]any{"metadata": map[string]any{
		"labels":      map[string]any{pai.LabelMachineSKU: sku},
		"annotations": map[string]any{pai.AnnotationMachineGPUs: gpus},
	}}
}

// unchosen returns an error if a living pod chose the machine by its kind.
func unchosen(ctx context.Context, core kubernetes.Interface, name string) error {
	pods, err := jobPods(ctx, core, name)
	if err != nil {
		return err
	}
	for _, p := range pods {
		if kind := p.Spec.NodeSelector[pai.LabelMachineSKU]; kind != "" {
			return pai.Errorf(pai.CodeRefused, "when the job has ended, run: paictl cluster k8s-bootup",
				"pod %s/%s chose machine %s by its machine-sku, %s", p.Namespace, p.Name, name, kind)
		}
	}
	return nil
}
