//go:build e2e

package cluster

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/test/kubetest"
)

// TestCordons has PAI and an operator cordon machines in every order, against a
// real API server, which stores who set a field: PAI removes only its own cordon.
func TestCordons(t *testing.T) {
	client := kubetest.Start(t).Client
	core, ctx := client.Clientset(), t.Context()
	operator := func(unschedulable string) func(name string) {
		return func(name string) { // as kubectl cordon and uncordon do
			patch := []byte(`{"spec":{"unschedulable":` + unschedulable + `}}`)
			if _, err := core.CoreV1().Nodes().Patch(ctx, name, types.StrategicMergePatchType, patch, metav1.PatchOptions{FieldManager: "kubectl-cordon"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	cordon, uncordon := operator("true"), operator("null")
	pais := func(want bool) func(name string) {
		return func(name string) {
			if done, err := Cordon(ctx, core, name, "op-1"); err != nil || done != want {
				t.Errorf("%s: PAI cordoned: %v, error %v; want %v", name, done, err, want)
			}
		}
	}
	for name, c := range map[string]struct {
		before   []func(name string)
		by       string // who cordoned it then, as PAI sees it
		cordoned bool   // after PAI uncordoned
	}{
		"pai":                         {[]func(string){pais(true)}, "op-1", false},
		"pai-twice":                   {[]func(string){pais(true), pais(false)}, "op-1", false},
		"operator-first":              {[]func(string){cordon, pais(false)}, "", true},
		"operator-after-uncordoning":  {[]func(string){pais(true), uncordon, cordon}, "", true},
		"operator-uncordoned-for-pai": {[]func(string){pais(true), uncordon}, "", false},
		"operator-undid-pai-does-it":  {[]func(string){pais(true), uncordon, pais(true)}, "op-1", false},
		"operator-alone":              {[]func(string){cordon}, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := client.Apply(ctx, []*unstructured.Unstructured{nodeObject(config.Machine{Hostname: name}, plan.MachineKind{})}, kube.ApplyOptions{}); err != nil {
				t.Fatal(err)
			}
			for _, do := range c.before {
				do(name)
			}
			node, err := core.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if by := CordonedByPAI(node); by != c.by {
				t.Errorf("cordoned by %q, want %q", by, c.by)
			}
			if err := Uncordon(ctx, core, name); err != nil {
				t.Fatal(err)
			}
			if node, err = core.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{}); err != nil {
				t.Fatal(err)
			}
			if node.Spec.Unschedulable != c.cordoned || node.Annotations[pai.AnnotationCordoned] != "" {
				t.Errorf("afterwards cordoned: %v, marked %q; want cordoned: %v, and no mark", node.Spec.Unschedulable, node.Annotations[pai.AnnotationCordoned], c.cordoned)
			}
		})
	}
	if done, err := Cordon(ctx, core, "nowhere", "op-1"); done || err != nil {
		t.Errorf("a machine that the cluster does not know: %v, %v", done, err)
	}
}
