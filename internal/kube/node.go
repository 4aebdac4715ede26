package kube

import (
	"context"
	"encoding/json"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"

	"pai.dev/pai/internal/pai"
)

// PatchNode changes a node with the merge patch that change returns for it;
// nil changes nothing. If the node was written in between, PatchNode reads it
// and calls change again.
func PatchNode(ctx context.Context, core kubernetes.Interface, name string, change func(*corev1.Node) map[string]any) error {
	nodes := core.CoreV1().Nodes()
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		node, err := nodes.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		patch := change(node)
		if patch == nil {
			return nil
		}
		metadata, _ := patch["metadata"].(map[string]any)
		metadata["resourceVersion"] = node.ResourceVersion
		data, err := json.Marshal(patch)
		if err != nil {
			return err
		}
		_, err = nodes.Patch(ctx, name, types.MergePatchType, data, metav1.PatchOptions{FieldManager: pai.FieldManager})
		return err
	})
}

// DeleteNode deletes exactly this node, not another one of its name. Without it, nothing is to
// be done.
func DeleteNode(ctx context.Context, core kubernetes.Interface, node *corev1.Node) error {
	err := core.CoreV1().Nodes().Delete(ctx, node.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(node.UID))})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// DeleteRequest deletes a certificate signing request. Without it, nothing is to be done.
func DeleteRequest(ctx context.Context, core kubernetes.Interface, request *certificatesv1.CertificateSigningRequest) error {
	err := core.CertificatesV1().CertificateSigningRequests().Delete(ctx, request.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(request.UID))})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// Evict evicts exactly this pod, not another one of its name. The API server
// then marks the pod as disrupted.
func Evict(ctx context.Context, core kubernetes.Interface, pod *corev1.Pod) error {
	return core.PolicyV1().Evictions(pod.Namespace).Evict(ctx, &policyv1.Eviction{
		ObjectMeta:    metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name},
		DeleteOptions: &metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(pod.UID))},
	})
}

// Approve approves a certificate signing request, for a reason and with a
// message that are recorded in it.
func Approve(ctx context.Context, core kubernetes.Interface, request *certificatesv1.CertificateSigningRequest, reason, message string) error {
	request.Status.Conditions = append(request.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
		Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: reason, Message: message,
	})
	_, err := core.CertificatesV1().CertificateSigningRequests().UpdateApproval(ctx, request.Name, request, metav1.UpdateOptions{})
	return err
}
