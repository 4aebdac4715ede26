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

// WebhookCertificate is what a program's webhooks present. The program renews
// it by itself; it is made for it before its first start, because a program
// that makes its first one waits, unready, until the kubelet has brought it to
// its folder: up to four minutes were seen.
type WebhookCertificate struct {
	// Secret holds the certificate and its authority, in SystemNamespace.
	Secret string `yaml:"secret"`
	// Service is the name that the API server calls.
	Service string `yaml:"service"`
	// Authority is the name by which the program knows its own authority.
	Authority string `yaml:"authority"`
}

// The keys of the Secret, as the library that Kueue and JobSet keep their
// certificates with has them (open-policy-agent/cert-controller, rotator.go).
const (
	authorityCert = "ca.crt"
	authorityKey  = "ca.key"
)

const (
	webhookCertLife = 10 * 365 * 24 * time.Hour // that library's own choice
	webhookKeyBits  = 2048
)

func (w *WebhookCertificate) check() error {
	if w != nil && (w.Secret == "" || w.Service == "" || w.Authority == "") {
		return errors.New("webhookCertificate needs secret, service and authority")
	}
	return nil
}

// ensure makes the Secret where there is none, or an empty one. One that the
// program has written is the program's.
func (w *WebhookCertificate) ensure(ctx context.Context, client *kube.Client, now time.Time) error {
	secrets := client.Clientset().CoreV1().Secrets(pai.SystemNamespace)
	held, err := secrets.Get(ctx, w.Secret, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		held = nil
	case err != nil:
		return fmt.Errorf("read secret %s: %w", w.Secret, err)
	case len(held.Data[corev1.TLSCertKey]) > 0:
		return nil
	}
	data, err := w.make(now)
	if err != nil {
		return err
	}
	if held != nil {
		held.Data = data
		_, err = secrets.Update(ctx, held, metav1.UpdateOptions{FieldManager: pai.FieldManager})
	} else {
		if err := client.EnsureNamespace(ctx, pai.SystemNamespace); err != nil {
			return err
		}
		_, err = secrets.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: w.Secret}, Data: data},
			metav1.CreateOptions{FieldManager: pai.FieldManager})
	}
	if apierrors.IsAlreadyExists(err) || apierrors.IsConflict(err) {
		return nil // the program was faster
	}
	if err != nil {
		return fmt.Errorf("write secret %s: %w", w.Secret, err)
	}
	return nil
}

// make makes an authority, and a certificate of it for the service's name.
func (w *WebhookCertificate) make(now time.Time) (map[string][]byte, error) {
	caKey, err := rsa.GenerateKey(rand.Reader, webhookKeyBits)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	ca, err := cert.NewSelfSignedCACert(cert.Config{CommonName: w.Authority, Organization: []string{w.Authority}, NotBefore: now.Add(-time.Hour)}, caKey)
	if err != nil {
		return nil, fmt.Errorf("make certificate authority %s: %w", w.Authority, err)
	}
	key, err := rsa.GenerateKey(rand.Reader, webhookKeyBits)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("make a serial number: %w", err)
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
