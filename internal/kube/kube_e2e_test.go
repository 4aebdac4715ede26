//go:build e2e

package kube_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/test/kubetest"
)

const widget = `
apiVersion: test.pai.dev/v1
kind: Widget
metadata: {name: one, namespace: shop}
spec: {size: 3}
`

const shop = `
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: shop}
data: {a: "1"}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data, namespace: shop}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.test.pai.dev}
spec:
  group: test.pai.dev
  names: {kind: Widget, listKind: WidgetList, plural: widgets, singular: widget}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
` + "---" + widget

func decode(t *testing.T, yaml string) []*unstructured.Unstructured {
	t.Helper()
	objs, err := kube.Decode([]byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	return objs
}

func apply(t *testing.T, c *kube.Client, yaml string, opts kube.ApplyOptions) kube.ChangeSet {
	t.Helper()
	changes, err := c.Apply(t.Context(), decode(t, yaml), opts)
	if err != nil {
		t.Fatalf("apply: %v", err)
	}
	return changes
}

func exists(t *testing.T, c *kube.Client, resource, namespace, name string) bool {
	t.Helper()
	gvr, _ := schema.ParseResourceArg(resource)
	_, err := c.Dynamic().Resource(*gvr).Namespace(namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		t.Fatal(err)
	}
	return err == nil
}

// One control plane serves all tests, because its start takes most of the time.
// The last test stops its API server.
func TestClient(t *testing.T) {
	t.Parallel()
	cluster := kubetest.Start(t)
	t.Run("apply, prune, delete", func(t *testing.T) { applyPruneDelete(t, cluster) })
	t.Run("a killed application is pruned later", func(t *testing.T) { killedApplicationIsPrunedLater(t, cluster) })
	t.Run("prune leaves what another inventory took over", func(t *testing.T) { pruneLeavesWhatAnotherInventoryTookOver(t, cluster) })
	t.Run("prune leaves what holds something", func(t *testing.T) { pruneLeavesWhatHoldsSomething(t, cluster) })
	t.Run("conversion can be dropped", func(t *testing.T) { conversionCanBeDropped(t, cluster) })
	t.Run("stored versions are rewritten", func(t *testing.T) { storedVersionsAreRewritten(t, cluster) })
	t.Run("wait names what is not ready", func(t *testing.T) { waitNamesWhatIsNotReady(t, cluster) })
	t.Run("apply outlasts the API", func(t *testing.T) { applyOutlastsTheAPI(t, cluster) })
}

func applyPruneDelete(t *testing.T, cluster *kubetest.Cluster) {
	c := cluster.Client
	opts := kube.ApplyOptions{Inventory: "shop", Prune: true, Record: map[string]string{"release": "v0.9"}}

	dry, err := c.Diff(t.Context(), decode(t, shop), opts)
	if err != nil || len(dry) != 5 {
		t.Errorf("dry-run: %v, %v, want 5 created", dry, err)
	}
	for _, change := range dry {
		if change.Action != plan.Created {
			t.Errorf("dry-run: %+v, want it created", change)
		}
	}
	if exists(t, c, "namespaces.v1.", "", "shop") {
		t.Fatal("a dry-run made something")
	}
	// Everything at once: a kind, a namespace, and objects that need both.
	if got := apply(t, c, shop, opts); got.Count(kube.Created) != 5 {
		t.Errorf("first application: %s, want 5 created", got)
	}
	if got := apply(t, c, shop, opts); got.Changed() || got.Count(kube.Unchanged) != 5 {
		t.Errorf("second application: %s, want 5 unchanged: %v", got, []kube.Change(got))
	}
	changed := strings.Replace(shop, `a: "1"`, `a: "2"`, 1)
	if got := apply(t, c, changed, opts); got.Count(kube.Configured) != 1 || got.Count(kube.Unchanged) != 4 {
		t.Errorf("changed application: %s, want 1 configured", got)
	}

	// Fields of another manager stay; Apply sets its own again.
	cm, err := c.Clientset().CoreV1().ConfigMaps("shop").Get(t.Context(), "settings", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cm.Data["a"], cm.Data["theirs"] = "9", "x"
	if _, err := c.Clientset().CoreV1().ConfigMaps("shop").Update(t.Context(), cm, metav1.UpdateOptions{FieldManager: "other"}); err != nil {
		t.Fatal(err)
	}
	apply(t, c, shop, opts)
	cm, err = c.Clientset().CoreV1().ConfigMaps("shop").Get(t.Context(), "settings", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if cm.Data["a"] != "1" || cm.Data["theirs"] != "x" {
		t.Errorf("data is %v, want a=1 again and theirs=x unchanged", cm.Data)
	}

	// Fewer objects: what may go goes, what holds others' things stays listed.
	const less = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}"
	got := apply(t, c, less, opts)
	if got.Count(kube.Deleted) != 2 || got.Count(kube.Kept) != 2 {
		t.Errorf("smaller application: %v, want ConfigMap and Widget deleted, definition and claim kept", got)
	}
	if exists(t, c, "configmaps.v1.", "shop", "settings") || exists(t, c, "widgets.v1.test.pai.dev", "shop", "one") {
		t.Error("objects that are no longer wanted are still there")
	}
	inv, err := c.Inventory(t.Context(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	if inv.State != kube.InventoryApplied || len(inv.Objects) != 3 || inv.Record["release"] != "v0.9" {
		t.Errorf("inventory is %+v, want 3 objects, applied, with its record", inv)
	}

	// Deleting: a definition goes only when nothing of its kind is left.
	apply(t, c, shop, opts)
	keepVolumes := func(o *unstructured.Unstructured) bool { return o.GetKind() == "PersistentVolumeClaim" }
	keepWidgets := func(o *unstructured.Unstructured) bool { return keepVolumes(o) || o.GetKind() == "Widget" }
	if err := c.DeleteInventory(t.Context(), "shop", keepWidgets); err != nil {
		t.Fatal(err)
	}
	if exists(t, c, "configmaps.v1.", "shop", "settings") {
		t.Error("the ConfigMap was not deleted")
	}
	if !exists(t, c, "widgets.v1.test.pai.dev", "shop", "one") || !exists(t, c, "customresourcedefinitions.v1.apiextensions.k8s.io", "", "widgets.test.pai.dev") {
		t.Error("a kept object or its definition was deleted")
	}
	if err := c.DeleteInventory(t.Context(), "shop", keepVolumes); err != nil {
		t.Fatal(err)
	}
	if exists(t, c, "customresourcedefinitions.v1.apiextensions.k8s.io", "", "widgets.test.pai.dev") {
		t.Error("the definition of a kind without objects was not deleted")
	}
	if !exists(t, c, "namespaces.v1.", "", "shop") {
		t.Error("a namespace was deleted")
	}
}

// The objects of a killed application are in the inventory for the next one.
func killedApplicationIsPrunedLater(t *testing.T, cluster *kubetest.Cluster) {
	c := cluster.Client
	opts := kube.ApplyOptions{Inventory: "killed", Prune: true}
	// The last object can never be applied: the application fails with the
	// others made.
	broken := strings.ReplaceAll(shop, "shop", "killed") + "\n---\napiVersion: v1\nkind: Service\nmetadata: {name: bad, namespace: killed}\nspec: {ports: [{port: 99999999}]}\n"
	if _, err := c.Apply(t.Context(), decode(t, broken), opts); err == nil || !strings.Contains(err.Error(), "Service killed/bad") {
		t.Fatalf("apply: %v, want an error that names the service", err)
	}
	inv, err := c.Inventory(t.Context(), "killed")
	if err != nil {
		t.Fatal(err)
	}
	if inv.State != kube.InventoryApplying || len(inv.Objects) != 6 {
		t.Fatalf("inventory is %+v, want all 6 objects, applying", inv)
	}
	got := apply(t, c, "apiVersion: v1\nkind: Namespace\nmetadata: {name: killed}", opts)
	if exists(t, c, "configmaps.v1.", "killed", "settings") {
		t.Errorf("%v: what the killed application made was not pruned", got)
	}
}

// An object that moved from one inventory to another is the other's.
func pruneLeavesWhatAnotherInventoryTookOver(t *testing.T, cluster *kubetest.Cluster) {
	c := cluster.Client
	const cm = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: moved, namespace: default}"
	const other = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other, namespace: default}"
	apply(t, c, cm+"\n---\n"+other, kube.ApplyOptions{Inventory: "old", Prune: true})
	apply(t, c, cm, kube.ApplyOptions{Inventory: "new", Prune: true})
	apply(t, c, other, kube.ApplyOptions{Inventory: "old", Prune: true})
	if err := c.DeleteInventory(t.Context(), "old", nil); err != nil {
		t.Fatal(err)
	}
	if !exists(t, c, "configmaps.v1.", "default", "moved") {
		t.Error("the object that moved to another inventory was deleted")
	}
	if exists(t, c, "configmaps.v1.", "default", "other") {
		t.Error("the object that did not move was not deleted")
	}
}

// What holds state or jobs stays when an application no longer names it.
func pruneLeavesWhatHoldsSomething(t *testing.T, cluster *kubetest.Cluster) {
	c := cluster.Client
	const holder = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: queue, namespace: default, annotations: {pai.dev/holds: jobs}}"
	const other = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other, namespace: default}"
	opts := kube.ApplyOptions{Inventory: "queues", Prune: true}
	apply(t, c, holder+"\n---\n"+other, opts)
	if got := apply(t, c, other, opts); got.Count(kube.Kept) != 1 || got.Count(kube.Deleted) != 0 {
		t.Errorf("%v, want the object that holds jobs kept", []kube.Change(got))
	}
	if err := c.DeleteInventory(t.Context(), "queues", nil); err != nil {
		t.Fatal(err)
	}
	if exists(t, c, "configmaps.v1.", "default", "queue") {
		t.Error("a kept object is no longer listed, so it is never deleted")
	}
}

func applyOutlastsTheAPI(t *testing.T, cluster *kubetest.Cluster) {
	var reports []string
	c := cluster.Client.WithProgress(func(format string, args ...any) { reports = append(reports, format) })
	cluster.StopAPIServer()
	back := time.AfterFunc(5*time.Second, cluster.StartAPIServer)
	defer back.Stop()
	if _, err := c.Apply(t.Context(), decode(t, strings.ReplaceAll(shop, "shop", "outlast")), kube.ApplyOptions{Inventory: "outlast"}); err != nil {
		t.Fatalf("apply during a short API outage: %v", err)
	}
	if len(reports) == 0 {
		t.Error("no report about the API outage")
	}
	cluster.StopAPIServer()
	start := time.Now()
	_, err := c.WithRetryTimeout(2*time.Second).Apply(t.Context(), decode(t, strings.ReplaceAll(shop, "shop", "outlast")), kube.ApplyOptions{Inventory: "outlast"})
	if err == nil || !strings.Contains(err.Error(), "is not responding") || time.Since(start) > 20*time.Second {
		t.Errorf("apply without an API: %v after %s, want an error soon with the reason", err, time.Since(start))
	}
}

func waitNamesWhatIsNotReady(t *testing.T, cluster *kubetest.Cluster) {
	cluster.StartControllers()
	c := cluster.Client
	const deployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: nowhere/none}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: fine, namespace: default}
`
	objs := decode(t, deployment)
	apply(t, c, deployment, kube.ApplyOptions{})
	pod := waitForPod(t, c, "app=web")
	pod.Status.Phase = corev1.PodPending
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", Image: "nowhere/none", State: corev1.ContainerState{
		Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImageNeverPull", Message: "no such image"}}}}
	if _, err := c.Clientset().CoreV1().Pods("default").UpdateStatus(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	err := c.Wait(ctx, objs)
	var waitErr *kube.WaitError
	if !errors.As(err, &waitErr) || len(waitErr.Unready) != 1 {
		t.Fatalf("wait: %v, want one unready object", err)
	}
	for _, want := range []string{"Deployment default/web", "container main waiting: ErrImageNeverPull: no such image"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("wait: %v, want it to say %q", err, want)
		}
	}

	pod, getErr := c.Clientset().CoreV1().Pods("default").Get(t.Context(), pod.Name, metav1.GetOptions{})
	if getErr != nil {
		t.Fatal(getErr)
	}
	pod.Status.Phase = corev1.PodRunning
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()}}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", Image: "nowhere/none", Ready: true,
		State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}}}}
	if _, err := c.Clientset().CoreV1().Pods("default").UpdateStatus(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := c.Wait(ctx, objs); err != nil {
		t.Errorf("wait for a ready deployment: %v", err)
	}
}

func waitForPod(t *testing.T, c *kube.Client, selector string) *corev1.Pod {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for time.Now().Before(deadline) {
		pods, err := c.Clientset().CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{LabelSelector: selector})
		if err != nil {
			t.Fatal(err)
		}
		if len(pods.Items) > 0 {
			return &pods.Items[0]
		}
		time.Sleep(200 * time.Millisecond)
	}
	t.Fatalf("no pod %s within a minute", selector)
	return nil
}
