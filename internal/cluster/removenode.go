package cluster

import (
	"context"
	"fmt"
	"slices"

	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// nodeRemover removes what the cluster has of a machine that left the layout: its node, the
// certificate requests of its kubelet, and the record of its maintenance. Kubernetes then
// deletes what belongs to the node, such as its lease and its pods. The record is last: with
// it, the same command finds what an interrupted removal left.
type nodeRemover struct{ *cluster }

func (c nodeRemover) Done(ctx context.Context, s plan.Step) (bool, error) {
	node, core, err := c.node(ctx, s.Target)
	if err != nil || node != nil {
		return false, err
	}
	requests, err := requestsOf(ctx, core, s.Target)
	if err != nil || len(requests) > 0 {
		return false, err
	}
	recorded, err := c.isRecorded(ctx, s.Target)
	return err == nil && !recorded, err
}

func (c nodeRemover) Do(ctx context.Context, s plan.Step) error {
	node, core, err := c.node(ctx, s.Target)
	if err != nil {
		return err
	}
	if node != nil {
		if err := kube.DeleteNode(ctx, core, node); err != nil {
			return fmt.Errorf("delete node %q: %w", s.Target, err)
		}
	}
	requests, err := requestsOf(ctx, core, s.Target)
	if err != nil {
		return err
	}
	for i := range requests {
		if err := kube.DeleteRequest(ctx, core, &requests[i]); err != nil {
			return fmt.Errorf("delete certificate request %s of machine %q: %w", requests[i].Name, s.Target, err)
		}
	}
	return c.changeMaintenance(ctx, func(all map[string]pai.Maintenance) { delete(all, s.Target) })
}

// requestsOf are the certificate requests of the kubelet of a machine.
func requestsOf(ctx context.Context, core kubernetes.Interface, name string) ([]certificatesv1.CertificateSigningRequest, error) {
	list, err := core.CertificatesV1().CertificateSigningRequests().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list the certificate requests of machine %q: %w", name, err)
	}
	return slices.DeleteFunc(list.Items, func(r certificatesv1.CertificateSigningRequest) bool {
		return r.Spec.Username != "system:node:"+name
	}), nil
}
