package service

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
)

// WebhookCertificate is the certificate of the webhooks of a program, which
// renews it. PAI creates the first one before the program starts: otherwise the
// program creates it and then waits, unready, until the kubelet has updated the
// mounted Secret, which takes up to four minutes.
type WebhookCertificate struct {
	// Secret holds the certificate and its CA, in SystemNamespace.
	Secret string `yaml:"secret"`
	// Service is the Kubernetes service that the API server calls.
	Service string `yaml:"service"`
	// Authority is the CA name that the program expects.
	Authority string `yaml:"authority"`
}

// The keys of the Secret, as in the library that Kueue and JobSet use for their
// certificates (open-policy-agent/cert-controller, rotator.go).
const (
	authorityCert = "ca.crt"
	authorityKey  = "ca.key"
)

const (
	webhookCertLife = 10 * 365 * 24 * time.Hour // as in that library
	webhookKeyBits  = 2048
)

func (w *WebhookCertificate) check() error {
	if w != nil && (w.Secret == "" || w.Service == "" || w.Authority == "") {
		return errors.New("webhookCertificate needs secret, service and authority")
	}
	return nil
}

// ensure creates the Secret if it does not exist or is empty. A Secret that the
// program has written stays as it is.
func (w *WebhookCertificate) ensure(ctx context.Context, client *kube.Client, now time.Time) error {
	held, err := client.Clientset().CoreV1().Secrets(pai.SystemNamespace).Get(ctx, w.Secret, metav1.GetOptions{})
	exists := !apierrors.IsNotFound(err)
	if exists && err != nil {
		return fmt.Errorf("read secret %s: %w", w.Secret, err)
	}
	if exists && len(held.Data[corev1.TLSCertKey]) > 0 {
		return nil
	}
	data, err := w.generate(now)
	if err != nil {
		return err
	}
	return writeSecret(ctx, client, w.Secret, held, exists, data)
}

// generate returns the data of the Secret: a CA and a certificate for the name
// of the service.
func (w *WebhookCertificate) generate(now time.Time) (map[string][]byte, error) {
	caKey, err := rsa.GenerateKey(rand.Reader, webhookKeyBits)
	if err != nil {
		return nil, fmt.Errorf("generate a key: %w", err)
	}
	ca, err := cert.NewSelfSignedCACert(cert.Config{CommonName: w.Authority, Organization: []string{w.Authority}, NotBefore: now.Add(-time.Hour)}, caKey)
	if err != nil {
		return nil, fmt.Errorf("create certificate authority %s: %w", w.Authority, err)
	}
	key, err := rsa.GenerateKey(rand.Reader, webhookKeyBits)
	if err != nil {
		return nil, fmt.Errorf("generate a key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("generate a serial number: %w", err)
	}
	name := w.Service + "." + pai.SystemNamespace + ".svc"
	leaf := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		DNSNames:     []string{name},
		NotBefore:    ca.NotBefore,
		NotAfter:     now.Add(webhookCertLife),
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if leaf.NotAfter.After(ca.NotAfter) {
		leaf.NotAfter = ca.NotAfter
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
	if err != nil {
		return nil, fmt.Errorf("sign the certificate of %s: %w", name, err)
	}
	data := map[string][]byte{}
	for where, c := range map[string][]byte{authorityCert: ca.Raw, corev1.TLSCertKey: der} {
		data[where] = pem.EncodeToMemory(&pem.Block{Type: cert.CertificateBlockType, Bytes: c})
	}
	for where, k := range map[string]crypto.PrivateKey{authorityKey: caKey, corev1.TLSPrivateKeyKey: key} {
		if data[where], err = keyutil.MarshalPrivateKeyToPEM(k); err != nil {
			return nil, fmt.Errorf("encode a key: %w", err)
		}
	}
	return data, nil
}
