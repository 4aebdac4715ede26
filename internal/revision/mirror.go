package revision

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
)

// The labels and annotations of the mirror's Secrets. The Secrets are immutable.
const (
	labelRevision  = "pai.dev/configuration-revision"
	annotationBy   = "pai.dev/by"
	annotationTime = "pai.dev/time"
	annotationWhy  = "pai.dev/why"
	secretType     = "pai.dev/configuration"
)

// Mirror copies the revisions that the API lacks, and returns their number. It
// deletes copies of revisions that were pruned with this limit.
func (s *Store) Mirror(ctx context.Context, client *kube.Client, limit int) (added int, err error) {
	numbers, err := s.numbers(ctx)
	if err != nil || len(numbers) == 0 {
		return 0, err
	}
	if err := client.EnsureNamespace(ctx, pai.SystemNamespace); err != nil {
		return 0, err
	}
	list, err := client.Clientset().CoreV1().Secrets(pai.SystemNamespace).List(ctx, metav1.ListOptions{LabelSelector: labelRevision})
	if err != nil {
		return 0, fmt.Errorf("list revisions in the API: %w", err)
	}
	exist := map[string]bool{}
	for _, secret := range list.Items {
		exist[secret.Name] = true
	}
	for _, n := range numbers {
		if exist[secretName(n)] {
			continue
		}
		r, err := s.read(ctx, n)
		if err != nil {
			return added, err
		}
		obj, err := secretOf(r)
		if err != nil {
			return added, err
		}
		if err := client.Create(ctx, obj); err != nil && !apierrors.IsAlreadyExists(err) {
			return added, fmt.Errorf("copy revision %d into the API: %w", n, err)
		}
		added++
	}
	for _, secret := range list.Items {
		if !isPruned(secret.Name, numbers, limit) {
			continue
		}
		ref := kube.Ref{Version: "v1", Kind: "Secret", Namespace: pai.SystemNamespace, Name: secret.Name}
		if err := client.Delete(ctx, ref, secret.UID); err != nil {
			return added, fmt.Errorf("delete the copy of a pruned revision: %w", err)
		}
	}
	return added, nil
}

// isPruned reports whether a copy is of a revision that was pruned: it does not
// exist, and as many newer ones do as the limit says. The copies of revisions
// that were lost on the machine stay.
func isPruned(secret string, numbers []int, limit int) bool {
	newer := 0
	for _, n := range numbers {
		if secretName(n) == secret {
			return false
		}
		if secretName(n) > secret {
			newer++
		}
	}
	return newer >= limit
}

func secretName(number int) string { return fmt.Sprintf("configuration-%06d", number) }

func secretOf(r Revision) (*unstructured.Unstructured, error) {
	immutable := true
	raw, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&corev1.Secret{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{
			Name: secretName(r.Number), Namespace: pai.SystemNamespace,
			Labels:      map[string]string{labelRevision: fmt.Sprint(r.Number)},
			Annotations: map[string]string{annotationBy: r.By, annotationTime: r.Time.Format(time.RFC3339), annotationWhy: r.Why},
		},
		Type: secretType, Immutable: &immutable, Data: r.Files,
	})
	if err != nil {
		return nil, fmt.Errorf("encode Secret of revision %d: %w", r.Number, err)
	}
	return &unstructured.Unstructured{Object: raw}, nil
}
