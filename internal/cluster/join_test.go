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
	"pai.dev/pai/internal/pai"
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

// A request that is refused keeps no other one from its approval.
func TestRefusedRequestDoesNotStopAJoin(t *testing.T) {
	t.Parallel()
	const path = "/apis/certificates.k8s.io/v1/certificatesigningrequests/"
	m := testConfig().Workers()[0]
	objects := map[string]string{}
	for name, subject := range map[string]string{"csr-1": "system:node:pai-1", "csr-2": "system:node:" + m.Hostname, "csr-3": "system:node:pai-1"} {
		data, err := json.Marshal(certificatesv1.CertificateSigningRequest{
			TypeMeta: metav1.TypeMeta{APIVersion: "certificates.k8s.io/v1", Kind: "CertificateSigningRequest"}, ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec: certificatesv1.CertificateSigningRequestSpec{SignerName: certs.KubeletSigner, Username: "system:bootstrap:abcdef", Usages: []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageClientAuth},
				Request: signRequest(t, &x509.CertificateRequest{Subject: pkix.Name{CommonName: subject, Organization: []string{"system:nodes"}}})},
		})
		if err != nil {
			t.Fatal(err)
		}
		objects[path+name] = string(data)
	}
	api, client := newFakeAPI(t, objects)
	k, err := client(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = approveJoining(t.Context(), k, tokenID("abcdef.secret"), m)
	if err == nil || !strings.Contains(err.Error(), "csr-1") || !strings.Contains(err.Error(), "csr-3") {
		t.Errorf("got %v, want both refusals", err)
	}
	for name, want := range map[string]bool{"csr-1": false, "csr-2": true, "csr-3": false} {
		if got := strings.Contains(api.objects[path+name], `"Approved"`); got != want {
			t.Errorf("%s: got approved %v, want %v", name, got, want)
		}
	}
}

// A bootstrap step that was killed can have changed only the right to join.
func TestRightToJoinFitsTheVersion(t *testing.T) {
	t.Parallel()
	binding := map[string]string{"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/kubeadm:node-autoapprove-bootstrap": `{"kind":"ClusterRoleBinding","apiVersion":"rbac.authorization.k8s.io/v1","metadata":{"name":"kubeadm:node-autoapprove-bootstrap"}}`}
	for _, c := range []struct {
		version pai.KubernetesVersion
		objects map[string]string
		want    bool
	}{
		{"v0.10-pai", binding, true},
		{"v0.10-pai", nil, false},
		{"v0.11-pai", binding, false},
		{"v0.11-pai", nil, true},
	} {
		_, client := newFakeAPI(t, c.objects)
		k, err := client(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := automaticJoinsFit(t.Context(), k, c.version); err != nil || got != c.want {
			t.Errorf("%s with %d objects: got %v, %v, want %v", c.version, len(c.objects), got, err, c.want)
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
