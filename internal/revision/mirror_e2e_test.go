//go:build e2e

package revision

import (
	"bytes"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/test/kubetest"
	"pai.dev/pai/test/runtest"
)

// The API gets every revision, also those made during an outage, and none can
// be changed.
func TestMirrorOnRealAPI(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	client := kubetest.Start(t).Client
	s := NewStore(runtest.Dir(t.TempDir()))
	if n, err := s.Mirror(ctx, client, 3); n != 0 || err != nil {
		t.Fatalf("empty store: got %d, %v", n, err)
	}
	for n := range 3 {
		if _, err := s.Add(ctx, n, "ann@host", "Grüße\tof revision", files("x")); err != nil {
			t.Fatal(err)
		}
		if n == 1 {
			continue // an API outage
		}
		if _, err := s.Mirror(ctx, client, 3); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := s.Mirror(ctx, client, 3); n != 0 || err != nil {
		t.Errorf("got %d copied, %v, want 0", n, err)
	}
	secrets := client.Clientset().CoreV1().Secrets(mirrorNamespace)
	list, err := secrets.List(ctx, metav1.ListOptions{LabelSelector: labelRevision})
	if err != nil || len(list.Items) != 3 {
		t.Fatalf("got %d in the API, %v, want 3", len(list.Items), err)
	}
	second := list.Items[1]
	want, err := s.Get(ctx, 2)
	if err != nil || second.Labels[labelRevision] != "2" || second.Annotations[annotationBy] != "ann@host" || second.Annotations[annotationWhy] != want.Why {
		t.Errorf("%v, %v, %v", second.Labels, second.Annotations, err)
	}
	for name, data := range want.Files {
		if !bytes.Equal(second.Data[name], data) {
			t.Errorf("%s is %q", name, second.Data[name])
		}
	}
	second.Data["layout.yaml"] = []byte("other")
	if _, err := secrets.Update(ctx, &second, metav1.UpdateOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("changed revision: got %v, want invalid", err)
	}

	if _, err := s.Add(ctx, 3, "ann@host", "the fourth", files("x")); err != nil {
		t.Fatal(err)
	}
	if err := s.Prune(ctx, 3); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Mirror(ctx, client, 3); n != 1 || err != nil {
		t.Errorf("got %d copied, %v, want 1", n, err)
	}
	list, err = secrets.List(ctx, metav1.ListOptions{LabelSelector: labelRevision})
	if err != nil || len(list.Items) != 3 || list.Items[0].Labels[labelRevision] != "2" {
		t.Errorf("got %d in the API, %v, want revisions 2 to 4", len(list.Items), err)
	}

	// What v0.10 stored for the services to read is moved, also a revision that is only there.
	if err := client.EnsureNamespace(ctx, pai.SystemNamespace); err != nil {
		t.Fatal(err)
	}
	previous := client.Clientset().CoreV1().Secrets(pai.SystemNamespace)
	for _, number := range []string{"4", "5"} {
		secret := &corev1.Secret{Type: secretType, Data: map[string][]byte{"layout.yaml": []byte("password")}}
		secret.Name, secret.Labels = "configuration-00000"+number, map[string]string{labelRevision: number}
		if _, err := previous.Create(ctx, secret, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Mirror(ctx, client, 3); err != nil {
		t.Fatal(err)
	}
	left, err := previous.List(ctx, metav1.ListOptions{LabelSelector: labelRevision})
	if err != nil || len(left.Items) != 0 {
		t.Errorf("got %d copies that services read, %v, want none", len(left.Items), err)
	}
	// Revision 4 has other files by now, so its older copy has another name.
	list, err = secrets.List(ctx, metav1.ListOptions{LabelSelector: labelRevision + "=4"})
	if err != nil || len(list.Items) != 2 || string(list.Items[1].Data["layout.yaml"]) != "password" || list.Items[0].Name != "configuration-000004" {
		t.Errorf("got %d copies with the number 4, %v, want both", len(list.Items), err)
	}
	only, err := secrets.Get(ctx, "configuration-000005", metav1.GetOptions{})
	if err != nil || string(only.Data["layout.yaml"]) != "password" {
		t.Errorf("got %v, %v, want the revision that only the API had", only.Data, err)
	}
}
