package service

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
)

// writeSecret creates a Secret of PAI, or adds data to the one that is held. If
// something else was faster, its content stays.
func writeSecret(ctx context.Context, client *kube.Client, name string, held *corev1.Secret, exists bool, data map[string][]byte) error {
	var err error
	if exists {
		err = fillSecret(ctx, client, name, held.ResourceVersion, data)
	} else {
		err = createSecret(ctx, client, name, data)
	}
	if apierrors.IsAlreadyExists(err) || apierrors.IsConflict(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("write secret %s: %w", name, err)
	}
	return nil
}

func fillSecret(ctx context.Context, client *kube.Client, name, version string, data map[string][]byte) error {
	patch, err := json.Marshal(corev1.Secret{ObjectMeta: metav1.ObjectMeta{ResourceVersion: version}, Data: data})
	if err != nil {
		return err
	}
	return client.PatchUnchanged(ctx, kube.Ref{Version: "v1", Kind: "Secret", Namespace: pai.SystemNamespace, Name: name}, patch)
}

func createSecret(ctx context.Context, client *kube.Client, name string, data map[string][]byte) error {
	if err := client.EnsureNamespace(ctx, pai.SystemNamespace); err != nil {
		return err
	}
	secret, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: pai.SystemNamespace},
		Data:       data,
	})
	if err != nil {
		return err
	}
	return client.Create(ctx, &unstructured.Unstructured{Object: secret})
}
