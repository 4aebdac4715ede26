package cluster

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"strings"
	"testing"

	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/certs"
)

// paictl approves only what the kubelet of the machine requests with the token that was
// made for it.
func TestJoinIsApprovedForItsMachine(t *testing.T) {
	t.Parallel()
	const path = "/apis/certificates.k8s.io/v1/certificatesigningrequests/csr-1"
	m := testConfig().Workers()[0]
	for _, c := range []struct {
		name, user, subject string
		approved            bool
		wrong               string
	}{
		{"its kubelet", "system:bootstrap:abcdef", "system:node:" + m.Hostname, true, ""},
		{"another node", "system:bootstrap:abcdef", "system:node:pai-1", false, "not approved"},
		{"another token", "system:bootstrap:other1", "system:node:" + m.Hostname, false, ""},
		{"a node itself", "system:node:" + m.Hostname, "system:node:" + m.Hostname, false, ""},
	} {
		request := certificatesv1.CertificateSigningRequest{
			TypeMeta: metav1.TypeMeta{APIVersion: "certificates.k8s.io/v1", Kind: "CertificateSigningRequest"}, ObjectMeta: metav1.ObjectMeta{Name: "csr-1"},
			Spec: certificatesv1.CertificateSigningRequestSpec{SignerName: certs.KubeletSigner, Username: c.user, Usages: []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageClientAuth},
				Request: signRequest(t, &x509.CertificateRequest{Subject: pkix.Name{CommonName: c.subject, Organization: []string{"system:nodes"}}})},
		}
		data, err := json.Marshal(request)
		if err != nil {
			t.Fatal(err)
		}
		api, client := newFakeAPI(t, map[string]string{path: string(data)})
		k, err := client(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		err = approveJoining(t.Context(), k, tokenID("abcdef.secret"), m)
		if (err == nil) != (c.wrong == "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.wrong)
		}
		if got := strings.Contains(api.objects[path], `"Approved"`); got != c.approved {
			t.Errorf("%s: got approved %v, want %v", c.name, got, c.approved)
		}
	}
}

// A cluster of v0.11 has no right that makes the holder of a join token any node. That of
// an older version keeps it: its paictl approves nothing.
func TestJoinsAreNotApprovedByThemselves(t *testing.T) {
	t.Parallel()
	if got := withoutAutomaticJoins("v0.11-pai"); !strings.Contains(got, " delete ") || !strings.Contains(got, "clusterrolebinding.rbac.authorization.k8s.io/kubeadm:node-autoapprove-bootstrap") {
		t.Errorf("got the script %q, want the deletion of the binding", got)
	}
	if got := withoutAutomaticJoins("v0.10-pai"); got != "" {
		t.Errorf("got the script %q, want none", got)
	}
}
