//go:build e2e

package kube_test

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/test/kubetest"
)

const program = `
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Secret
metadata: {name: key, namespace: shop}
stringData: {code: hunter2}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: till, namespace: shop}
spec:
  selector: {matchLabels: {a: b}}
  template:
    metadata: {labels: {a: b}}
    spec: {containers: [{name: till, image: "till:1", args: [--old]}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: leaves, namespace: shop}
data: {a: "1"}
`

// A difference is what the API would do: no more, no less, and no secret.
func TestDiffOnARealAPI(t *testing.T) {
	t.Parallel()
	c := kubetest.Start(t).Client
	ctx := t.Context()
	diff := func(yaml string) ([]plan.StepDiff, string) {
		t.Helper()
		changes, err := c.Diff(ctx, decode(t, yaml), kube.ApplyOptions{Inventory: "shop", Prune: true})
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for _, change := range changes {
			fmt.Fprintf(&b, "%s %s (%s)\n", change.Action, change.What, change.Note)
			for _, f := range change.Fields {
				fmt.Fprintf(&b, "  %s: %s → %s\n", f.Path, f.Old, f.New)
			}
		}
		return changes, b.String()
	}
	if changes, text := diff(program); len(changes) != 4 || strings.Count(text, "created") != 4 {
		t.Errorf("of nothing:\n%s", text)
	}
	if _, err := c.Clientset().CoreV1().Namespaces().Get(ctx, "shop", metav1.GetOptions{}); err == nil {
		t.Error("asking for a difference made a namespace")
	}
	apply(t, c, program, kube.ApplyOptions{Inventory: "shop", Prune: true})
	if changes, text := diff(program); len(changes) != 0 {
		t.Errorf("of what is there:\n%s", text)
	}
	// A field of another manager stays and is not a difference.
	d, err := c.Clientset().AppsV1().Deployments("shop").Get(ctx, "till", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	d.Spec.Template.Spec.NodeSelector = map[string]string{"by": "other"}
	if _, err := c.Clientset().AppsV1().Deployments("shop").Update(ctx, d, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	next, _, _ := strings.Cut(program, "---\napiVersion: v1\nkind: ConfigMap")
	next = strings.NewReplacer("till:1", "till:2", "--old", "--new", "hunter2", "hunter3").Replace(next)
	_, text := diff(next)
	want := strings.Join([]string{
		"changed Secret shop/key ()",
		"  data.code: •••• → ••••",
		"changed Deployment shop/till (its pods are replaced)",
		"  spec.template.spec.containers[till].args[]: --old → ",
		"  spec.template.spec.containers[till].args[]:  → --new",
		"  spec.template.spec.containers[till].image: till:1 → till:2",
		"deleted ConfigMap shop/leaves ()", "",
	}, "\n")
	if text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
	var s *corev1.Secret
	if s, err = c.Clientset().CoreV1().Secrets("shop").Get(ctx, "key", metav1.GetOptions{}); err != nil || string(s.Data["code"]) != "hunter2" {
		t.Errorf("asking for a difference changed the secret: %v", err)
	}
}
