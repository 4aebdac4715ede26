//go:build e2e

package service

import (
	"strings"
	"testing"
	"testing/fstest"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// Deleting a service keeps its state and deletes its records; with wipe it
// deletes everything.
func TestDelete(t *testing.T) {
	t.Parallel()
	files := fstest.MapFS{
		"prometheus/service.yaml": {Data: []byte("name: prometheus\njobImpact: none\nstate: cluster\n")},
		"prometheus/objects.yaml.tmpl": {Data: []byte(`
apiVersion: v1
kind: ConfigMap
metadata: {name: program}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: kept, annotations: {pai.dev/holds: state}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
`)},
	}
	s := newScene(t, files)
	ctx := t.Context()
	apply := func() {
		t.Helper()
		// Claims are not bound here, so they never become ready.
		doer, step := s.step(plan.KindService)
		want, err := doer.(starter).wanted(ctx, step)
		if err != nil {
			t.Fatal(err)
		}
		if err := doer.(starter).record(ctx, s.client, want, step.To.Services()); err != nil {
			t.Fatal(err)
		}
		if _, err := s.client.Apply(ctx, want.objs, kube.ApplyOptions{Inventory: inventoryPrefix + "prometheus", Prune: true}); err != nil {
			t.Fatal(err)
		}
	}
	left := func() string {
		t.Helper()
		var names []string
		maps, err := s.client.Clientset().CoreV1().ConfigMaps(pai.SystemNamespace).List(ctx, metav1.ListOptions{LabelSelector: "pai.dev/service"})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range maps.Items {
			names = append(names, m.Name)
		}
		claims, err := s.client.Clientset().CoreV1().PersistentVolumeClaims(pai.SystemNamespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range claims.Items {
			names = append(names, c.Name)
		}
		records, err := listRecorded(ctx, s.client, "")
		if err != nil {
			t.Fatal(err)
		}
		for range records {
			names = append(names, "record")
		}
		return strings.Join(names, " ")
	}
	apply()
	if got := left(); got != "kept program data record" {
		t.Fatalf("got %s, want kept, program, data, and a record", got)
	}
	wipe := func(on bool) (plan.Doer, plan.Step) {
		doer, step := s.step(plan.KindDelete)
		step.To, step.Wipe = "", on
		return doer, step
	}
	doer, step := wipe(false)
	if s.done(plan.KindDelete) {
		t.Error("got done before the service is deleted")
	}
	if err := doer.Do(ctx, step); err != nil {
		t.Fatal(err)
	}
	if got := left(); got != "kept data" || !s.done(plan.KindDelete) {
		t.Errorf("got %q after a delete that keeps the data, want kept and data", got)
	}

	// State that only the program can finalize is not deleted while it is stopped.
	core := s.client.Clientset().CoreV1()
	finalizers := func(path string) {
		t.Helper()
		if _, err := core.ConfigMaps(pai.SystemNamespace).Patch(ctx, "kept", types.MergePatchType, []byte(`{"metadata":{"finalizers":`+path+`}}`), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	finalizers(`["prometheus.example/in-use"]`)
	doer, step = wipe(true)
	if err := doer.Do(ctx, step); err == nil || pai.CodeOf(err) != pai.CodeRefused || !strings.Contains(err.Error(), "ConfigMap pai-system/kept") {
		t.Errorf("got %v for state with a finalizer of a stopped program, want a refusal", err)
	}
	if got := left(); got != "kept data" {
		t.Errorf("got %q after a refusal, want kept and data", got)
	}
	finalizers(`null`)
	releaseClaim(t, s.client)
	if done, err := doer.Done(ctx, step); done || err != nil {
		t.Errorf("got done while its data exists (%v), want not done", err)
	}
	if err := doer.Do(ctx, step); err != nil {
		t.Fatal(err)
	}
	if done, err := doer.Done(ctx, step); !done || err != nil || left() != "" {
		t.Errorf("got %q (%v) after a wipe, want nothing", left(), err)
	}
	if inv, err := s.client.Inventory(ctx, inventoryPrefix+"prometheus"); err != nil || inv != nil {
		t.Errorf("got inventory %v (%v), want none", inv, err)
	}
}

// releaseClaim removes the finalizer of a claim in place of its controller.
func releaseClaim(t *testing.T, client *kube.Client) {
	t.Helper()
	claims := client.Clientset().CoreV1().PersistentVolumeClaims(pai.SystemNamespace)
	if _, err := claims.Patch(t.Context(), "data", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}
