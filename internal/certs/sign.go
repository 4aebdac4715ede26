package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// maxSkew is how far the clock of another machine can be behind.
const maxSkew = 5 * time.Minute

// backdate is how long before now a certificate with a life begins.
func backdate(lives time.Duration) time.Duration { return min(maxSkew, lives/10) }

// issuer is an authority with its key.
type issuer struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func newIssuer(cert, key []byte) (issuer, error) {
	var i issuer
	var err error
	if i.cert, err = leaf(cert); err != nil {
		return i, err
	}
	if i.key, err = parseKey(key); err != nil {
		return i, err
	}
	if public, ok := i.key.Public().(interface{ Equal(crypto.PublicKey) bool }); !ok || !public.Equal(i.cert.PublicKey) {
		return i, errors.New("the key is not that of the certificate")
	}
	return i, nil
}

// renew signs a certificate with the names, usages, and life of an old one. It
// begins a little before now and does not outlive the authority.
func (i issuer) renew(old *x509.Certificate, public any, now time.Time) ([]byte, error) {
	return i.sign(&x509.Certificate{
		Subject: old.Subject, DNSNames: old.DNSNames, IPAddresses: old.IPAddresses,
		KeyUsage: old.KeyUsage, ExtKeyUsage: old.ExtKeyUsage, BasicConstraintsValid: true,
	}, public, life(old), now)
}

// sign signs a certificate that lives from a little before now.
func (i issuer) sign(template *x509.Certificate, public any, lives time.Duration, now time.Time) ([]byte, error) {
	template.NotBefore = now.Add(-backdate(lives))
	template.NotAfter = template.NotBefore.Add(lives)
	if template.NotAfter.After(i.cert.NotAfter) {
		template.NotAfter = i.cert.NotAfter
	}
	if !template.NotAfter.After(now) {
		return nil, fmt.Errorf("the authority %q ended on %s", i.cert.Subject.CommonName, day(i.cert.NotAfter))
	}
	der, err := x509.CreateCertificate(rand.Reader, template, i.cert, public, i.key)
	if err != nil {
		return nil, err
	}
	return encode(blockCertificate, der), nil
}

// newKey makes a key, and returns its PEM.
func newKey() (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return key, encode(blockKey, der), err
}

// parseKey returns the first key of a file, in each form that kubeadm and Kubernetes
// write.
func parseKey(data []byte) (crypto.Signer, error) {
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return nil, errors.New("it has no key")
		}
		var key any
		var err error
		switch block.Type {
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		case "RSA PRIVATE KEY":
			key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
		case blockKey:
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		default:
			continue
		}
		if signer, ok := key.(crypto.Signer); ok {
			return signer, nil
		}
		return nil, errors.Join(errors.New("its key cannot be read"), err)
	}
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }
