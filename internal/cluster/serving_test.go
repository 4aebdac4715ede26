package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"net/url"
	"strings"
	"testing"

	certificatesv1 "k8s.io/api/certificates/v1"

	"pai.dev/pai/internal/layout"
)

func TestCheckServing(t *testing.T) {
	t.Parallel()
	m := testConfig().Workers()[0]
	for _, c := range []struct {
		name   string
		change func(*x509.CertificateRequest, *certificatesv1.CertificateSigningRequestSpec)
		wrong  string // part of the reason; empty when it is to be approved
	}{
		{"a kubelet's own", func(*x509.CertificateRequest, *certificatesv1.CertificateSigningRequestSpec) {}, ""},
		{"another machine's address", func(r *x509.CertificateRequest, _ *certificatesv1.CertificateSigningRequestSpec) {
			r.IPAddresses = append(r.IPAddresses, net.ParseIP("10.9.0.11"))
		}, "address 10.9.0.11"},
		{"the API's name", func(r *x509.CertificateRequest, _ *certificatesv1.CertificateSigningRequestSpec) {
			r.DNSNames = append(r.DNSNames, layout.APIName)
		}, layout.APIName},
		{"another node's subject", func(r *x509.CertificateRequest, _ *certificatesv1.CertificateSigningRequestSpec) {
			r.Subject.CommonName = "system:node:pai-1"
		}, "subject"},
		{"administrators' group", func(r *x509.CertificateRequest, _ *certificatesv1.CertificateSigningRequestSpec) {
			r.Subject.Organization = []string{"system:nodes", "system:masters"}
		}, "subject"},
		{"no name at all", func(r *x509.CertificateRequest, _ *certificatesv1.CertificateSigningRequestSpec) {
			r.DNSNames, r.IPAddresses = nil, nil
		}, "no name"},
		{"a URI", func(r *x509.CertificateRequest, _ *certificatesv1.CertificateSigningRequestSpec) {
			r.URIs = []*url.URL{{Scheme: "spiffe", Host: "x"}}
		}, "URI"},
		{"a client certificate", func(_ *x509.CertificateRequest, s *certificatesv1.CertificateSigningRequestSpec) {
			s.Usages = append(s.Usages, certificatesv1.UsageClientAuth)
		}, "client auth"},
	} {
		request := &x509.CertificateRequest{
			Subject:     pkix.Name{CommonName: "system:node:" + m.Hostname, Organization: []string{"system:nodes"}},
			DNSNames:    []string{m.Hostname},
			IPAddresses: []net.IP{net.ParseIP(m.HostIP)},
		}
		spec := certificatesv1.CertificateSigningRequestSpec{Username: "system:node:" + m.Hostname, Usages: []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageServerAuth}}
		c.change(request, &spec)
		spec.Request = signRequest(t, request)
		err := checkServing(spec, m)
		switch {
		case c.wrong == "" && err != nil:
			t.Errorf("%s: refused: %v", c.name, err)
		case c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)):
			t.Errorf("%s: %v, want a reason with %q", c.name, err, c.wrong)
		}
	}
	if err := checkServing(certificatesv1.CertificateSigningRequestSpec{Request: []byte("none")}, m); err == nil {
		t.Error("what is no request was approved")
	}
}

func signRequest(t *testing.T, request *x509.CertificateRequest) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, request, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}
