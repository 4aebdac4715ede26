package cluster

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/plan"
)

const (
	coreDNSPath      = "/apis/apps/v1/namespaces/kube-system/deployments/coredns"
	dnsInventoryPath = "/api/v1/namespaces/pai-system/configmaps/inventory-cluster-dns"
)

// coreDNS is the Deployment of another build, whose pods are not all there.
func coreDNS(observed int) string {
	return fmt.Sprintf(`{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"name":"coredns","namespace":"kube-system","generation":2},
		"spec":{"template":{"spec":{"containers":[{"name":"coredns","image":"pai.local/coredns:build"}]}}},
		"status":{"observedGeneration":%d,"replicas":2,"updatedReplicas":1,"availableReplicas":1}}`, observed)
}

// dnsSays is what rendered objects say: the image, whether they forward, and whether they
// avoid machines in maintenance.
func dnsSays(t *testing.T, objects []*unstructured.Unstructured) (image string, forward, avoids bool) {
	t.Helper()
	for _, o := range objects {
		switch o.GetKind() {
		case "Deployment":
			containers, _, _ := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
			image, _, _ = unstructured.NestedString(containers[0].(map[string]any), "image")
			_, avoids, _ = unstructured.NestedMap(o.Object, "spec", "template", "spec", "affinity")
		case "ConfigMap":
			file, _, _ := unstructured.NestedString(o.Object, "data", "Corefile")
			forward = slices.Contains(strings.Fields(file), "forward")
		}
	}
	return image, forward, avoids
}

// A maintenance changes where CoreDNS starts and forwards, and not its image. The machine
// need not be asked. After its return, CoreDNS is what the release has, which is v0.10 here.
func TestDNSOfAMaintenance(t *testing.T) {
	t.Parallel()
	c, api, _ := maintenanceCluster(t, maintenanceNode("pai-2", "", ""))
	api.objects[coreDNSPath] = coreDNS(2)
	c.hosts["pai-1"].Write(layout.ResolverFile, "nameserver 10.9.0.1\n")
	doStep(t, c.deps, maintenanceStep(plan.KindCordon))
	want := func(when string, kind plan.Kind, forward, avoids bool) {
		t.Helper()
		s := maintenanceStep(kind)
		s.To = "v0.10-pai"
		objects, _, err := Doers(c.deps)[kind].(maintenanceDNS).objects(t.Context(), s)
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		if image, f, a := dnsSays(t, objects); image != "pai.local/coredns:build" || f != forward || a != avoids {
			t.Errorf("%s: got image %s, forward %v, avoids %v, want the image that runs, %v, %v", when, image, f, a, forward, avoids)
		}
	}
	host := c.deps.Hosts["pai-2"]
	c.deps.Hosts["pai-2"] = silentHost{c.hosts["pai-2"]}
	want("before the record", plan.KindDNSAway, true, true)
	c.hosts["pai-1"].Write(layout.MaintenanceFile, `{"machines":{"pai-2":{"operation":"op-1"}}}`)
	want("with the record", plan.KindDNSAway, true, true)
	c.deps.Hosts["pai-2"] = host
	want("back without a resolver", plan.KindDNSBack, false, false)
	c.hosts["pai-2"].Write(layout.ResolverFile, "nameserver 10.9.0.1\n")
	want("back with a resolver", plan.KindDNSBack, true, false)
	api.set(t, nodePath+"pai-3", &corev1.Node{TypeMeta: metav1.TypeMeta{Kind: "Node", APIVersion: "v1"}, ObjectMeta: metav1.ObjectMeta{Name: "pai-3", Labels: map[string]string{"pai.dev/maintenance": "true"}}})
	want("back while another machine is in maintenance", plan.KindDNSBack, true, true)
}

// The step does not wait for pods: one can be on a machine that is off.
func TestDNSOfAMaintenanceIsDoneWhenObserved(t *testing.T) {
	t.Parallel()
	c, api, _ := maintenanceCluster(t, maintenanceNode("pai-2", "", ""))
	step := maintenanceStep(plan.KindDNSAway)
	done := func() bool {
		t.Helper()
		ok, err := Doers(c.deps)[plan.KindDNSAway].Done(t.Context(), step)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if !done() {
		t.Error("without CoreDNS: got not done")
	}
	if err := Doers(c.deps)[plan.KindDNSAway].Do(t.Context(), step); err != nil {
		t.Errorf("without CoreDNS: got %v", err)
	}
	api.objects[coreDNSPath] = coreDNS(2)
	if done() {
		t.Error("got done, and nothing was applied")
	}
	objects, _, err := Doers(c.deps)[plan.KindDNSAway].(maintenanceDNS).objects(t.Context(), step)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := digestOf(objects)
	if err != nil {
		t.Fatal(err)
	}
	record, err := json.Marshal(digest)
	if err != nil {
		t.Fatal(err)
	}
	api.set(t, dnsInventoryPath, &corev1.ConfigMap{TypeMeta: metav1.TypeMeta{Kind: "ConfigMap", APIVersion: "v1"},
		ObjectMeta: metav1.ObjectMeta{Name: "inventory-cluster-dns", Namespace: "pai-system"},
		Data:       map[string]string{"state": "applied", "objects.json": "[]", "record.json": string(record)}})
	if !done() {
		t.Error("got not done, although it was applied and observed")
	}
	api.objects[coreDNSPath] = coreDNS(1)
	if done() {
		t.Error("got done before the controller observed it")
	}
}
