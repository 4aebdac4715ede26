package service

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"testing"
	"time"
)

// The library that keeps these certificates takes one over only if the
// authority's own name is among its DNS names, its key is PKCS #1, and both
// are valid for another 90 days; otherwise it makes its own, and waits.
func TestWebhookCertificateIsTakenOver(t *testing.T) {
	t.Parallel()
	w := &WebhookCertificate{Secret: "s", Service: "hook", Authority: "hook-ca"}
	now := time.Now()
	data, err := w.make(now)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(data["ca.key"])
	if block == nil {
		t.Fatal("there is no authority's key")
	}
	if _, err := x509.ParsePKCS1PrivateKey(block.Bytes); err != nil {
		t.Errorf("the authority's key: %v", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(data["ca.crt"]) {
		t.Fatal("there is no authority's certificate")
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
