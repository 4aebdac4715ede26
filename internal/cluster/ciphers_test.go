package cluster

import (
	"crypto/tls"
	"slices"
	"testing"
)

// The suites are secure ones of TLS 1.2. HTTP/2 needs one of two: without them the
// programs do not start.
func TestStrongCiphers(t *testing.T) {
	t.Parallel()
	for _, name := range strongCiphers {
		if !slices.ContainsFunc(tls.CipherSuites(), func(s *tls.CipherSuite) bool {
			return s.Name == name && slices.Contains(s.SupportedVersions, tls.VersionTLS12)
		}) {
			t.Errorf("%s is no secure suite of TLS 1.2", name)
		}
	}
	for _, needed := range []string{"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"} {
		if !slices.Contains(strongCiphers, needed) {
			t.Errorf("%s is missing", needed)
		}
	}
}
