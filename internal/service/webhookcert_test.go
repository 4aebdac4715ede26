package service

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"testing"
	"time"
)

// The library accepts these certificates only if the CA name is one of the DNS
// names of the CA, its key is PKCS #1, and both are valid for another 90 days.
// Otherwise it creates its own certificates and waits.
func TestWebhookCertificateIsAccepted(t *testing.T) {
	t.Parallel()
	w := &WebhookCertificate{Secret: "s", Service: "hook", Authority: "hook-ca"}
	now := time.Now()
	data, err := w.generate(now)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data["ca.key"])
	if block == nil {
		t.Fatal("got no CA key")
	}
	if _, err := x509.ParsePKCS1PrivateKey(block.Bytes); err != nil {
		t.Errorf("got a CA key that is not PKCS #1: %v", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(data["ca.crt"]) {
		t.Fatal("got no CA certificate")
	}
	for name, keys := range map[string][2]string{
		"hook-ca":             {"ca.crt", "ca.key"},
		"hook.pai-system.svc": {"tls.crt", "tls.key"},
	} {
		pair, err := tls.X509KeyPair(data[keys[0]], data[keys[1]])
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, at := range []time.Time{now, now.Add(90 * 24 * time.Hour), now.Add(5 * 365 * 24 * time.Hour)} {
			if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: at}); err != nil {
				t.Errorf("%s at %s: %v", name, at, err)
			}
		}
	}
}
