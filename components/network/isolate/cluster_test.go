package isolate

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

func slice(namespace, service, name string, headless bool, list ...string) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name,
		Labels: map[string]string{discoveryv1.LabelServiceName: service}}}
	if headless {
		s.Labels[corev1.IsHeadlessService] = ""
	}
	for _, a := range list {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{a}, TargetRef: &corev1.ObjectReference{Name: "task"}})
	}
	return s
}

func node(name, internal, public, published string) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{publicAddress: public, AddressesAnnotation: published, "other": "x"}},
		Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: internal}, {Type: corev1.NodeHostName, Address: name},
			{Type: corev1.NodeExternalIP, Address: "203.0.113.9"}}},
	}
}

func TestKnownOfTheCluster(t *testing.T) {
	t.Parallel()
	many := strings.Repeat("10.1.1.1,", maxAddresses) + "198.51.100.1"
	client := fake.NewClientset(
		node("m1", "10.0.0.1", "10.0.0.1", "10.0.0.1,10.8.0.1,fd00::1,x"), node("m2", "10.0.0.2", "", many),
		slice("pai-vc-a", "one", "one-x", true, "10.244.1.5", "10.244.2.5"), slice("pai-vc-a", "one", "one-y", true, "10.244.3.5", "fd00::5"),
		slice("pai-vc-a", "two", "two-x", true, "10.244.1.6"), slice("pai-vc-b", "one", "one-x", true, "10.244.1.7"),
		slice("pai-vc-a", "three", "three-x", false, "10.244.1.8"), slice("pai-system", "one", "one-z", true, "10.244.1.9"),
	)
	w, err := watch(client)
	if err != nil {
		t.Fatal(err)
	}
	w.run(t.Context())
	eventually(t, "the API was read", w.synced)
	k := w.known([]string{"pai-vc-a/one", "pai-vc-a/three", "pai-system/one"})
	if got := fmt.Sprint(k.Machines, k.Closed, k.Peers); got != "[10.0.0.1 10.0.0.2] [10.0.0.1 10.0.0.2 10.1.1.1 10.8.0.1] "+
		"map[pai-system/one:[] pai-vc-a/one:[10.244.1.5 10.244.2.5 10.244.3.5] pai-vc-a/three:[]]" {
		t.Errorf("got %s", got)
	}
	select {
	case <-w.changed:
	default:
	}
	// The fake API does not send what changed before it was asked to watch.
	eventually(t, "the slices are watched", func() bool {
		return slices.ContainsFunc(client.Actions(), func(a clienttesting.Action) bool { return a.Matches("watch", "endpointslices") })
	})
	changed := slice("pai-vc-a", "one", "one-y", true, "10.244.3.6")
	if _, err := client.DiscoveryV1().EndpointSlices("pai-vc-a").Update(t.Context(), changed, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the change is known", func() bool {
		return slices.Contains(w.known([]string{"pai-vc-a/one"}).Peers["pai-vc-a/one"], addrs("10.244.3.6")[0])
	})
	if err := w.publish(t.Context(), "m1", addrs("10.0.0.1", "10.9.0.1")); err != nil {
		t.Fatal(err)
	}
	got, err := client.CoreV1().Nodes().Get(t.Context(), "m1", metav1.GetOptions{})
	if err != nil || got.Annotations[AddressesAnnotation] != "10.0.0.1,10.9.0.1" || got.Annotations["other"] != "x" {
		t.Errorf("got %v, %v", got.Annotations, err)
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("within a minute, it is not true that %s", what)
		}
	}
}
