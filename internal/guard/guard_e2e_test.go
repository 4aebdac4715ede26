//go:build live

package guard_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"pai.dev/pai/internal/guard"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

const namespace = pai.VirtualClusterNamespacePrefix + "guard-test"

// TestGuardOfRealMachine decides about a machine that runs Kubernetes v0.9-pai,
// first idle and then with a job. The end-to-end test of the witness lists the
// variables that name the machine.
func TestGuardOfRealMachine(t *testing.T) {
	ctx := t.Context()
	kubeconfig, err := os.ReadFile(need(t, "PAI_E2E_KUBECONFIG"))
	check(t, err)
	client, err := kube.FromKubeconfig(kubeconfig)
	check(t, err)
	name, address, _ := strings.Cut(need(t, "PAI_E2E_MACHINES"), "=")
	host, err := machine.Dial(ctx, machine.Endpoint{Name: name, Address: address,
		KeyFile: need(t, "PAI_E2E_KEY"), KnownHosts: need(t, "PAI_E2E_KNOWN_HOSTS")})
	check(t, err)
	t.Cleanup(func() { _ = host.Close() })
	g, err := guard.New(guard.LiveFacts{
		API:   func(context.Context) (guard.API, error) { return client, nil },
		Hosts: map[string]machine.Host{name: host},
	}, nil, nil)
	check(t, err)
	kubelet := plan.Step{ID: "kubelet", Kind: plan.KindKubelet, Target: name, From: "v0.9-pai", To: "v0.9-pai", Risk: pai.RiskNode}
	runtime := plan.Step{ID: "containerd", Kind: plan.KindRole, Role: plan.RoleRuntime, Target: name, From: "v0.9-pai", To: "v0.9-pai", Risk: pai.RiskNode}
	elsewhere := kubelet
	elsewhere.To = "v0.99-pai" // its programs are not on the machine
	unknown := kubelet
	unknown.Target = "nowhere"
	expect := func(when string, step plan.Step, verdict guard.Verdict, reason string) {
		t.Helper()
		d := g.Decide(ctx, step)
		t.Logf("%s, %s: %s: %s", when, step.ID, d.Verdict, d.Reason)
		if d.Verdict != verdict || !strings.Contains(d.Reason, reason) {
			t.Errorf("%s, %s: got %+v, want %s: …%s…", when, step.ID, d, verdict, reason)
		}
	}
	label := func(value string) {
		t.Helper()
		patch := []byte(`{"metadata":{"labels":{"pai-guard-test":` + value + `}}}`)
		_, err := client.Clientset().CoreV1().Nodes().Patch(context.WithoutCancel(ctx), name, types.MergePatchType, patch, metav1.PatchOptions{})
		check(t, err)
	}

	expect("idle", elsewhere, guard.Go, "no job runs")
	expect("idle", unknown, guard.Refuse, "no connection")

	label(`"here"`)
	t.Cleanup(func() { label("null") })
	startJob(t, client, map[string]string{"pai-guard-test": "here"})
	expect("busy", kubelet, guard.Go, "every condition")
	expect("busy", runtime, guard.Go, "every condition")
	expect("busy", elsewhere, guard.Refuse, "next-kubelet-version")
	label("null")
	expect("label removed", kubelet, guard.Wait, "(node-affinity)")
	expect("label removed", runtime, guard.Go, "every condition")
	if err := g.Check(ctx, kubelet); pai.CodeOf(err) != pai.CodeRefused || !strings.Contains(err.Error(), "ada~guarded") {
		t.Errorf("got %v, want refused with the name of the job", err)
	}
	newAPI := plan.Step{ID: "apiserver", Kind: plan.KindAPIServer, From: "v0.9-pai", To: "v0.10-pai", Risk: pai.RiskAPI}
	expect("busy", newAPI, guard.Go, "API can be unavailable")
}

// startJob starts a pod with a job's labels, which is deleted after the test.
func startJob(t *testing.T, client *kube.Client, selector map[string]string) {
	t.Helper()
	ctx, core := t.Context(), client.Clientset().CoreV1()
	_, err := core.Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		check(t, err)
	}
	t.Cleanup(func() {
		if err := core.Namespaces().Delete(context.WithoutCancel(ctx), namespace, metav1.DeleteOptions{}); err != nil {
			t.Errorf("delete the namespace: %v", err)
		}
	})
	grace := int64(1)
	_, err = core.Pods(namespace).Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "guarded", Labels: map[string]string{pai.LabelJob: "guarded", pai.LabelUser: "ada"}},
		Spec: corev1.PodSpec{
			NodeSelector: selector, TerminationGracePeriodSeconds: &grace,
			Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			Containers: []corev1.Container{{Name: "main", Image: need(t, "PAI_E2E_IMAGE"), ImagePullPolicy: corev1.PullNever,
				Command: []string{"/busybox", "sleep", "600"}}},
		},
	}, metav1.CreateOptions{})
	check(t, err)
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		p, err := core.Pods(namespace).Get(ctx, "guarded", metav1.GetOptions{})
		if err == nil && p.Status.Phase == corev1.PodRunning {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the pod does not run within 60 s: %v %v", p.Status, err)
		}
	}
}

func need(t *testing.T, variable string) string {
	t.Helper()
	v := os.Getenv(variable)
	if v == "" {
		t.Fatalf("%s is not set", variable)
	}
	return v
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
