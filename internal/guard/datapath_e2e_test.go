//go:build e2e

package guard_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/guard"
	"pai.dev/pai/internal/observe/running"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/service"
	"pai.dev/pai/test/kubetest"
)

// TestDataPathServiceUnderAJob: a service that declares itself on the data path
// of jobs is neither applied nor stopped while a job runs on any machine,
// and both after the job has ended. The job is in a real API server.
func TestDataPathServiceUnderAJob(t *testing.T) {
	cluster := kubetest.Start(t)
	core, ctx := cluster.Client.Clientset(), t.Context()
	services, err := service.Catalog(fstest.MapFS{
		"storage/service.yaml": {Data: []byte("name: storage\njobImpact: data-path\nstate: none\n")},
		"metrics/service.yaml": {Data: []byte("name: metrics\njobImpact: none\nstate: none\n")},
	})
	if err != nil {
		t.Fatal(err)
	}
	impacts := map[string]pai.JobImpact{}
	for _, s := range services {
		impacts[s.Name] = s.JobImpact
	}
	g, err := guard.New(guard.LiveFacts{API: func(context.Context) (guard.API, error) { return cluster.Client, nil }}, impacts, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := func(when, name string, kind plan.Kind, refused bool) {
		t.Helper()
		err := g.Check(ctx, plan.Step{ID: plan.StepID("services/v2/" + name), Kind: kind, Target: name, To: "v2", Risk: pai.RiskNone})
		if (err != nil) != refused || refused && (pai.CodeOf(err) != pai.CodeRefused || !strings.Contains(err.Error(), "ada~train")) {
			t.Errorf("%s, %s of %s: got %v, want refused: %v", when, kind, name, err, refused)
		}
	}

	const namespace = pai.VirtualClusterNamespacePrefix + "default"
	if _, err := core.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := core.CoreV1().ServiceAccounts(namespace).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	pod, err := core.CoreV1().Pods(namespace).Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "train-0", Labels: map[string]string{pai.LabelJob: "train", pai.LabelUser: "ada"}},
		Spec:       corev1.PodSpec{NodeName: "gpu-01", Containers: []corev1.Container{{Name: "main", Image: "x"}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	state := func(s corev1.ContainerState, phase corev1.PodPhase) {
		t.Helper()
		pod.Status.Phase, pod.Status.ContainerStatuses = phase, []corev1.ContainerStatus{{Name: "main", ContainerID: "containerd://m", Image: "x", ImageID: "x", State: s}}
		if pod, err = core.CoreV1().Pods(namespace).UpdateStatus(ctx, pod, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	state(corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}}, corev1.PodRunning)
	for _, kind := range []plan.Kind{plan.KindService, plan.KindRefresh, plan.KindStop, plan.KindDelete} {
		want("while the job runs", "storage", kind, true)
		want("while the job runs", "metrics", kind, false)
	}
	podsOn := func(machine string) (pods []string) {
		t.Helper()
		jobs, err := running.JobsOn(ctx, core, machine)
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range jobs {
			for _, p := range j.Pods {
				pods = append(pods, j.String()+" "+p.Name)
			}
		}
		return pods
	}
	if here, elsewhere := podsOn("gpu-01"), podsOn("gpu-02"); !slices.Equal(here, []string{"ada~train train-0"}) || len(elsewhere) != 0 {
		t.Errorf("got pods %q on the machine of the job, %q on the other machine", here, elsewhere)
	}
	state(corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{FinishedAt: metav1.Now()}}, corev1.PodSucceeded)
	want("after the job has ended", "storage", plan.KindService, false)
	want("after the job has ended", "storage", plan.KindStop, false)
	cluster.StopAPIServer()
	if err := g.Check(ctx, plan.Step{ID: "services/v2/storage", Kind: plan.KindService, Target: "storage", Risk: pai.RiskNone}); err == nil || pai.CodeOf(err) != pai.CodeRefused || !strings.Contains(err.Error(), "are unknown") {
		t.Errorf("with the API server stopped: got %v, want refused", err)
	}
}
