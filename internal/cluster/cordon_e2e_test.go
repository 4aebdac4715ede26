//go:build e2e

package cluster

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/kube/kubetest"
	"pai.dev/pai/internal/pai"
)

// TestCordons has PAI and an operator cordon machines in every order, against a
// real API server, which remembers who set what: PAI takes back its own only.
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
		cordoned bool   // after PAI took back its own
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
			if _, err := client.Apply(ctx, []*unstructured.Unstructured{nodeObject(config.Machine{Hostname: name})}, kube.ApplyOptions{}); err != nil {
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

// TestEvictJobs ends the pods of jobs on one machine, and nothing else.
func TestEvictJobs(t *testing.T) {
	core := kubetest.Start(t).Client.Clientset()
	ctx := t.Context()
	if _, err := core.CoreV1().ServiceAccounts("default").Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	none := int64(0) // no kubelet is there that would end it in peace
	for name, c := range map[string]struct{ machine, job string }{"here": {"gpu-01", "train"}, "there": {"gpu-02", "train"}, "service": {"gpu-01", ""}} {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{}},
			Spec: corev1.PodSpec{NodeName: c.machine, TerminationGracePeriodSeconds: &none, Containers: []corev1.Container{{Name: "main", Image: "x"}}}}
		if c.job != "" {
			p.Labels[pai.LabelJob] = c.job
		}
		if _, err := core.CoreV1().Pods("default").Create(ctx, p, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := EvictJobs(ctx, core, "gpu-01"); err != nil {
		t.Fatal(err)
	}
	list, err := core.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range list.Items {
		if p.Name == "here" {
			t.Error("the job's pod is still on gpu-01")
		}
	}
	if len(list.Items) != 2 {
		t.Errorf("%d pods are left, want 2", len(list.Items))
	}
}
