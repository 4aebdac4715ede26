package certs

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"net/url"
	"strings"
	"testing"
)

// A join token gives the identity of the kubelet of its machine, and nothing else.
func TestCheckOfJoiningKubelets(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(*RequestSpec, *x509.CertificateRequest)
		wrong  string // part of the reason; empty if it is to be approved
	}{
		{"its kubelet", func(*RequestSpec, *x509.CertificateRequest) {}, ""},
		{"its kubelet with a key of RSA", func(s *RequestSpec, _ *x509.CertificateRequest) { s.Usages = append(s.Usages, "key encipherment") }, ""},
		{"the kubelet of another machine", func(_ *RequestSpec, r *x509.CertificateRequest) { r.Subject.CommonName = "system:node:pai-1" }, "subject"},
		{"an administrator", func(_ *RequestSpec, r *x509.CertificateRequest) { r.Subject.Organization = []string{operatorGroup} }, "subject"},
		{"another group besides", func(_ *RequestSpec, r *x509.CertificateRequest) {
			r.Subject.Organization = append(r.Subject.Organization, "system:masters")
		}, "subject"},
		{"another token", func(s *RequestSpec, _ *x509.CertificateRequest) { s.Username = "system:bootstrap:other" }, "system:bootstrap:other"},
		{"a node", func(s *RequestSpec, _ *x509.CertificateRequest) { s.Username = "system:node:pai-2" }, "system:node:pai-2"},
		{"another signer", func(s *RequestSpec, _ *x509.CertificateRequest) { s.SignerName = ClientSigner }, ClientSigner},
		{"a name", func(_ *RequestSpec, r *x509.CertificateRequest) { r.DNSNames = []string{"pai-2"} }, "names"},
		{"an address", func(_ *RequestSpec, r *x509.CertificateRequest) { r.IPAddresses = []net.IP{net.IPv4(10, 9, 0, 12)} }, "names"},
		{"a URI", func(_ *RequestSpec, r *x509.CertificateRequest) { r.URIs = []*url.URL{{Scheme: "spiffe", Host: "x"}} }, "names"},
		{"a server", func(s *RequestSpec, _ *x509.CertificateRequest) { s.Usages = append(s.Usages, "server auth") }, "server auth"},
	} {
		spec := RequestSpec{SignerName: KubeletSigner, Username: JoinUser("abcdef"), Usages: []string{"digital signature", "client auth"}}
		request := &x509.CertificateRequest{Subject: pkix.Name{CommonName: "system:node:pai-2", Organization: []string{"system:nodes"}}}
		c.change(&spec, request)
		spec.Request = signed(t, request)
		err := CheckJoining(spec, "abcdef", Machine{Name: "pai-2", Address: "10.9.0.12"})
		if c.wrong == "" && err != nil || c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)) {
			t.Errorf("%s: got %v, want a reason with %q", c.name, err, c.wrong)
		}
	}
}
