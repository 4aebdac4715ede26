package rest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"net"
	"slices"
	"time"

	certutil "k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"
)

const (
	caLife   = 10 * 365 * 24 * time.Hour
	leafLife = 365 * 24 * time.Hour
	// clockSkew is how far the clock of a client can be behind.
	clockSkew = time.Hour
)

// keyPair is a certificate and its key, in PEM.
type keyPair struct {
	cert, key []byte
}

// newCA makes a CA that signs only servers.
func newCA(now time.Time) (keyPair, error) {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "PAI REST server CA"},
		NotBefore:             now.Add(-clockSkew),
		NotAfter:              now.Add(caLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
	}
	return sign(template, nil)
}

// newServerCert makes a certificate of the REST server for the names and addresses.
func newServerCert(ca keyPair, names []string, now time.Time) (keyPair, error) {
	return newCert(ca, "PAI REST server", names, now)
}

func newCert(ca keyPair, of string, names []string, now time.Time) (keyPair, error) {
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: of},
		NotBefore:   now.Add(-clockSkew),
		NotAfter:    now.Add(leafLife),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	return sign(template, &ca)
}

// sign makes a key and a certificate with a random serial number, signed by ca
// or, if that is nil, by itself.
func sign(template *x509.Certificate, ca *keyPair) (keyPair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return keyPair{}, fmt.Errorf("create key: %w", err)
	}
	parent, signer := template, any(key)
	if ca != nil {
		if parent, err = parseCert(ca.cert); err != nil {
			return keyPair{}, err
		}
		if signer, err = keyutil.ParsePrivateKeyPEM(ca.key); err != nil {
			return keyPair{}, fmt.Errorf("read key: %w", err)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return keyPair{}, fmt.Errorf("sign certificate: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return keyPair{}, fmt.Errorf("encode key: %w", err)
	}
	return keyPair{
		cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}, nil
}

// serves reports whether a server certificate is signed by ca, covers the names,
// and has more than a third of its life left.
func (p keyPair) serves(ca keyPair, names []string, now time.Time) bool {
	cert, err := parseCert(p.cert)
	if err != nil {
		return false
	}
	if _, err := tls.X509KeyPair(p.cert, p.key); err != nil {
		return false
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca.cert)
	if _, err := cert.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: now}); err != nil {
		return false
	}
	if now.After(cert.NotAfter.Add(-leafLife / 3)) {
		return false
	}
	return !slices.ContainsFunc(names, func(n string) bool { return cert.VerifyHostname(n) != nil })
}

func parseCert(data []byte) (*x509.Certificate, error) {
	certs, err := certutil.ParseCertsPEM(data)
	if err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	return certs[0], nil
}
