package revision

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
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

// mirrorNamespace has the copies. A revision can have passwords of machines, and Kueue and
// JobSet read the Secrets of pai.SystemNamespace, where v0.10 and older store the copies.
const mirrorNamespace = metav1.NamespaceSystem

// Mirror copies the revisions that the API lacks, and returns their number. It
// deletes copies of revisions that were pruned with this limit.
func (s *Store) Mirror(ctx context.Context, client *kube.Client, limit int) (added int, err error) {
	numbers, err := s.numbers(ctx)
	if err != nil || len(numbers) == 0 {
		return 0, err
	}
	if err := moveCopies(ctx, client); err != nil {
		return 0, err
	}
	list, err := copies(ctx, client, mirrorNamespace)
	if err != nil {
		return 0, err
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
		if err := deleteCopy(ctx, client, secret); err != nil {
			return added, err
		}
	}
	return added, nil
}

func copies(ctx context.Context, client *kube.Client, namespace string) (*corev1.SecretList, error) {
	list, err := client.Clientset().CoreV1().Secrets(namespace).List(ctx, metav1.ListOptions{LabelSelector: labelRevision})
	if err != nil {
		return nil, fmt.Errorf("list revisions in the API: %w", err)
	}
	return list, nil
}

func deleteCopy(ctx context.Context, client *kube.Client, secret corev1.Secret) error {
	ref := kube.Ref{Version: "v1", Kind: "Secret", Namespace: secret.Namespace, Name: secret.Name}
	if err := client.Delete(ctx, ref, secret.UID); err != nil {
		return fmt.Errorf("delete the copy of a revision in %s: %w", secret.Namespace, err)
	}
	return nil
}

// moveCopies moves what v0.10 and older stored to where no service reads it, also copies
// of revisions that were lost on the machine. If another revision has the number of such a
// copy by now, its name gets a digest.
func moveCopies(ctx context.Context, client *kube.Client) error {
	older, err := copies(ctx, client, pai.SystemNamespace)
	if err != nil {
		return err
	}
	for _, secret := range older.Items {
		if err := moveCopy(ctx, client, secret); err != nil {
			return fmt.Errorf("move the copy %s to %s: %w", secret.Name, mirrorNamespace, err)
		}
		if err := deleteCopy(ctx, client, secret); err != nil {
			return err
		}
	}
	return nil
}

// moveCopy creates a copy in mirrorNamespace.
func moveCopy(ctx context.Context, client *kube.Client, secret corev1.Secret) error {
	name := secret.Name
	existing, err := client.Clientset().CoreV1().Secrets(mirrorNamespace).Get(ctx, name, metav1.GetOptions{})
	switch {
	case err == nil && maps.EqualFunc(existing.Data, secret.Data, bytes.Equal):
		return nil
	case err == nil:
		name += "-" + digestOf(secret.Data)
	case !apierrors.IsNotFound(err):
		return err
	}
	obj, err := toObject(name, secret.Labels, secret.Annotations, secret.Data)
	if err != nil {
		return err
	}
	if err := client.Create(ctx, obj); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	return nil
}

// digestOf is a digest of the files of a copy, as a part of a name.
func digestOf(files map[string][]byte) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(h, "%s %d\n%s", name, len(files[name]), files[name])
	}
	return hex.EncodeToString(h.Sum(nil))[:12]
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
	return toObject(secretName(r.Number), map[string]string{labelRevision: fmt.Sprint(r.Number)},
		map[string]string{annotationBy: r.By, annotationTime: r.Time.Format(time.RFC3339), annotationWhy: r.Why}, r.Files)
}

func toObject(name string, labels, annotations map[string]string, data map[string][]byte) (*unstructured.Unstructured, error) {
	immutable := true
	raw, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: mirrorNamespace, Labels: labels, Annotations: annotations},
		Type:       secretType, Immutable: &immutable, Data: data,
	})
	if err != nil {
		return nil, fmt.Errorf("encode Secret %s: %w", name, err)
	}
	return &unstructured.Unstructured{Object: raw}, nil
}
