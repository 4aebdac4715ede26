package cluster

import (
	"context"
	"fmt"

	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"pai.dev/pai/internal/certs"
	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/kube"
)

// approveServing approves requests of a kubelet for a serving certificate if they
// contain only the name and address of its machine. Kubernetes approves none by
// itself, because any kubelet could request any name. The certificate program of the
// control-plane machine does the same all the time; a joining machine need not wait
// for it, and it might know its machines only after the next step.
func approveServing(ctx context.Context, k *kube.Client, m config.Machine) error {
	requests := k.Clientset().CertificatesV1().CertificateSigningRequests()
	list, err := requests.List(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("spec.signerName", certificatesv1.KubeletServingSignerName).String()})
	if err != nil {
		return fmt.Errorf("list the certificate requests of kubelets: %w", err)
	}
	for i := range list.Items {
		r := &list.Items[i]
		if r.Spec.Username != "system:node:"+m.Hostname || len(r.Status.Conditions) > 0 {
			continue
		}
		if err := checkServing(r.Spec, m); err != nil {
			return fmt.Errorf("certificate request %s of kubelet on %q is not approved: %w", r.Name, m.Hostname, err)
		}
		if err := kube.Approve(ctx, k.Clientset(), r, "MachineOfConfiguration",
			"the name and address are those of the machine in PAI's configuration"); err != nil {
			return fmt.Errorf("approve certificate request %s: %w", r.Name, err)
		}
	}
	return nil
}

// checkServing checks that a request contains only the name and address of a machine.
func checkServing(spec certificatesv1.CertificateSigningRequestSpec, m config.Machine) error {
	r := requestSpec(spec)
	r.SignerName = certs.ServingSigner
	return certs.Check(r, []certs.Machine{{Name: m.Hostname, Address: m.HostIP}}, nil) // no serving certificate depends on the kubelet
}

// requestSpec is a request as the rules read it.
func requestSpec(spec certificatesv1.CertificateSigningRequestSpec) certs.RequestSpec {
	r := certs.RequestSpec{Request: spec.Request, SignerName: spec.SignerName, Username: spec.Username}
	for _, u := range spec.Usages {
		r.Usages = append(r.Usages, string(u))
	}
	return r
}
