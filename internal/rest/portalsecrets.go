package rest

import (
	"context"
	"crypto/rand"
	"time"

	corev1 "k8s.io/api/core/v1"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
)

// The Secret with the key that seals the sessions of the portal.
const (
	sessionSecret  = "portal-session"
	sessionKey     = "key"
	sessionKeySize = 32
)

// EnsurePortalSecrets makes the Secrets of the portal before its chart is applied: its
// certificate, of the authority of the REST server, and the key of its sessions. A further
// call changes only what is missing or expires soon: a new key would end all sessions.
func EnsurePortalSecrets(ctx context.Context, c *kube.Client, e Endpoint) error {
	return ensurePortalSecrets(ctx, c, e, time.Now())
}

func ensurePortalSecrets(ctx context.Context, c *kube.Client, e Endpoint, now time.Time) error {
	ca, err := ensureCA(ctx, c, now)
	if err != nil {
		return err
	}
	names := e.names("portal")
	_, err = ensurePair(ctx, c, pai.PortalTLS,
		func(p keyPair) bool { return p.serves(ca, names, now) },
		func() (keyPair, error) { return newCert(ca, "PAI portal", names, now) })
	if err != nil {
		return err
	}
	secret, err := getSecret(ctx, c, sessionSecret)
	if err != nil || len(secret.Data[sessionKey]) == sessionKeySize {
		return err
	}
	key := make([]byte, sessionKeySize)
	_, _ = rand.Read(key) // never fails
	return applySecret(ctx, c, sessionSecret, corev1.SecretTypeOpaque, map[string][]byte{sessionKey: key})
}
