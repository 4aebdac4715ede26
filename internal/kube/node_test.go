package kube

import (
	"errors"
	"testing"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

func TestPatchNodeReadsAgainAfterAConflict(t *testing.T) {
	t.Parallel()
	core := fake.NewClientset(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "m1", ResourceVersion: "7"}})
	attempts := 0
	core.PrependReactor("patch", "nodes", func(clienttesting.Action) (bool, runtime.Object, error) {
		attempts++
		if attempts > 1 {
			return false, nil, nil
		}
		return true, nil, apierrors.NewConflict(schema.GroupResource{Resource: "nodes"}, "m1", nil)
	})
	asked := 0
	err := PatchNode(t.Context(), core, "m1", func(*corev1.Node) map[string]any {
		asked++
		return map[string]any{"metadata": map[string]any{"annotations": map[string]any{"a": "b"}}}
	})
	if err != nil || asked != 2 || attempts != 2 {
		t.Errorf("got %d questions, %d patches, %v; want 2, 2, no error", asked, attempts, err)
	}
	if err := PatchNode(t.Context(), core, "m1", func(*corev1.Node) map[string]any { return nil }); err != nil || attempts != 2 {
		t.Errorf("got %d patches, %v for no change", attempts, err)
	}
}

func TestEvictNamesThePodByUID(t *testing.T) {
	t.Parallel()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "u1"}}
	core := fake.NewClientset(pod)
	if err := Evict(t.Context(), core, pod); err != nil {
		t.Fatal(err)
	}
	created, _ := core.Actions()[0].(clienttesting.CreateAction)
	eviction, _ := created.GetObject().(*policyv1.Eviction)
	if eviction == nil || eviction.Name != "p" || string(*eviction.DeleteOptions.Preconditions.UID) != "u1" {
		t.Errorf("got %+v", eviction)
	}
}

func TestApproveAddsTheCondition(t *testing.T) {
	t.Parallel()
	request := &certificatesv1.CertificateSigningRequest{ObjectMeta: metav1.ObjectMeta{Name: "csr-1"}}
	core := fake.NewClientset(request.DeepCopy())
	if err := Approve(t.Context(), core, request, "Because", "a message"); err != nil {
		t.Fatal(err)
	}
	got, err := core.CertificatesV1().CertificateSigningRequests().Get(t.Context(), "csr-1", metav1.GetOptions{})
	if err != nil || len(got.Status.Conditions) != 1 {
		t.Fatalf("got %+v, %v", got, err)
	}
	if c := got.Status.Conditions[0]; c.Type != certificatesv1.CertificateApproved || c.Status != corev1.ConditionTrue || c.Reason != "Because" {
		t.Errorf("got %+v", c)
	}
}

// What is deleted is what was read: its UID is a condition. What no longer exists is deleted.
func TestDeleteNamesTheUID(t *testing.T) {
	t.Parallel()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "m1", UID: "u1"}}
	request := &certificatesv1.CertificateSigningRequest{ObjectMeta: metav1.ObjectMeta{Name: "csr-1", UID: "u2"}}
	core := fake.NewClientset(node, request)
	for range 2 {
		if err := DeleteNode(t.Context(), core, node); err != nil {
			t.Fatal(err)
		}
		if err := DeleteRequest(t.Context(), core, request); err != nil {
			t.Fatal(err)
		}
	}
	for i, uid := range []string{"u1", "u2"} {
		deleted, _ := core.Actions()[i].(clienttesting.DeleteActionImpl)
		if p := deleted.DeleteOptions.Preconditions; p == nil || string(*p.UID) != uid {
			t.Errorf("got the conditions %+v, want UID %s", p, uid)
		}
	}
	failed := errors.New("no API")
	core.PrependReactor("delete", "*", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, failed })
	if err := DeleteNode(t.Context(), core, node); !errors.Is(err, failed) {
		t.Errorf("got %v, want the error", err)
	}
	if err := DeleteRequest(t.Context(), core, request); !errors.Is(err, failed) {
		t.Errorf("got %v, want the error", err)
	}
}
