package cluster

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"

	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/kube"
)

// approveServing approves requests of a kubelet for a serving certificate if they
// contain only the name and address of its machine. Kubernetes approves none by
// itself, because any kubelet could request any name.
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
	block, rest := pem.Decode(spec.Request)
	if block == nil || len(rest) > 0 {
		return fmt.Errorf("it is not one PEM block")
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return err
	}
	if err := csr.CheckSignature(); err != nil {
		return err
	}
	if csr.Subject.CommonName != "system:node:"+m.Hostname || !slices.Equal(csr.Subject.Organization, []string{"system:nodes"}) {
		return fmt.Errorf("its subject is %q", csr.Subject)
	}
	for _, name := range csr.DNSNames {
		if name != m.Hostname {
			return fmt.Errorf("it asks for the name %q", name)
		}
	}
	for _, ip := range csr.IPAddresses {
		if ip.String() != m.HostIP {
			return fmt.Errorf("it asks for the address %s", ip)
		}
	}
	if len(csr.DNSNames)+len(csr.IPAddresses) == 0 {
		return fmt.Errorf("it asks for no name and no address")
	}
	if len(csr.EmailAddresses)+len(csr.URIs) > 0 {
		return fmt.Errorf("it asks for e-mail addresses or URIs")
	}
	for _, usage := range spec.Usages {
		if usage != certificatesv1.UsageDigitalSignature && usage != certificatesv1.UsageKeyEncipherment && usage != certificatesv1.UsageServerAuth {
			return fmt.Errorf("it asks for the usage %q", usage)
		}
	}
	return nil
}
