package rest

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
)

// The Secrets in pai.SystemNamespace that the chart refers to, besides
// usersSecret. The server cannot read the authority's key.
const (
	caSecret  = "rest-server-ca"
	tlsSecret = "rest-server-tls"
	// AdminUser is the first administrator.
	AdminUser = "admin"
)

// Bootstrap says what EnsureSecrets makes secrets for.
type Bootstrap struct {
	// Addresses are the machines' addresses, at which the server is reached.
	Addresses []string
	Port      int
	// Users is the form that the release keeps its users in.
	Users UsersForm
	// Saved is what was returned before, as it was kept; zero if it was not.
	Saved Access
}

// EnsureSecrets makes the Secrets that the REST server starts with, before its
// chart is applied: the authority and the server's certificate, the users. It
// returns what reaches the server as AdminUser. Run again it changes nothing
// that is in order, and renews a certificate that is not.
//
// Tokens are kept nowhere in the cluster, only their hashes; so the token
// returned is b.Saved's where that is (still) valid, else a new one, next to
// those given out before.
func EnsureSecrets(ctx context.Context, c *kube.Client, b Bootstrap) (Access, error) {
	return ensureSecrets(ctx, c, b, time.Now())
}

func ensureSecrets(ctx context.Context, c *kube.Client, b Bootstrap, now time.Time) (Access, error) {
	ca, err := ensurePair(ctx, c, caSecret, func(p keyPair) bool {
		cert, err := parseCert(p.cert)
		return err == nil && now.Before(cert.NotAfter.Add(-leafLife))
	}, func() (keyPair, error) { return newCA(now) })
	if err != nil {
		return Access{}, err
	}
	names := append([]string{"localhost", "127.0.0.1", "rest-server", "rest-server." + pai.SystemNamespace + ".svc"}, b.Addresses...)
	_, err = ensurePair(ctx, c, tlsSecret,
		func(p keyPair) bool { return p.serves(ca, names, now) },
		func() (keyPair, error) { return newServerCert(ca, names, now) })
	if err != nil {
		return Access{}, err
	}
	token, err := ensureAdmin(ctx, c, b.Users, b.Saved.Token, now)
	if err != nil {
		return Access{}, err
	}
	access := Access{CA: ca.cert, User: AdminUser, Token: token}
	for _, a := range b.Addresses {
		access.URLs = append(access.URLs, "https://"+net.JoinHostPort(a, strconv.Itoa(b.Port)))
	}
	return access, nil
}

// ensurePair returns the pair in a Secret, replaced by a new one when it is
// not good.
func ensurePair(ctx context.Context, c *kube.Client, name string, good func(keyPair) bool, make func() (keyPair, error)) (keyPair, error) {
	secret, err := getSecret(ctx, c, name)
	if err != nil {
		return keyPair{}, err
	}
	pair := keyPair{cert: secret.Data[corev1.TLSCertKey], key: secret.Data[corev1.TLSPrivateKeyKey]}
	if good(pair) {
		return pair, nil
	}
	if pair, err = make(); err != nil {
		return keyPair{}, err
	}
	return pair, applySecret(ctx, c, name, corev1.SecretTypeTLS, map[string][]byte{
		corev1.TLSCertKey: pair.cert, corev1.TLSPrivateKeyKey: pair.key,
	})
}

// ensureAdmin returns a token of the first administrator's. Users who are there
// stay in the form that they have: servers of the release before may still read
// it, and moving them is a migration's.
func ensureAdmin(ctx context.Context, c *kube.Client, form UsersForm, saved string, now time.Time) (string, error) {
	secret, err := getSecret(ctx, c, usersSecret)
	if err != nil {
		return "", err
	}
	if found := formOf(secret); found == UsersByEntry && form == UsersDocument {
		return "", pai.Errorf(pai.CodeRefused, "go back with: paictl upgrade rollback, which brings them into its form",
			"the users are stored as a newer release keeps them, and this one would let nobody in")
	} else if found != "" {
		form = found
	}
	dir, err := readDirectory(secret, form)
	if err != nil {
		return "", err
	}
	if holder, ok := dir.holder(hashToken(saved)); ok && saved != "" && holder.Name == AdminUser {
		return saved, nil
	}
	fresh := newToken()
	dir.addToken(AdminUser, token{SHA256: hashToken(fresh), Created: now.UTC()})
	data, err := dir.encode(form)
	if err != nil {
		return "", err
	}
	return fresh, applySecret(ctx, c, usersSecret, corev1.SecretTypeOpaque, data)
}

// addToken gives an administrator a token, making him first if he is not there.
func (d *directory) addToken(name string, t token) {
	for i := range d.Users {
		if d.Users[i].Name == name {
			d.Users[i].Tokens = append(d.Users[i].Tokens, t)
			return
		}
	}
	d.Users = append(d.Users, user{Name: name, Admin: true, Tokens: []token{t}})
}

// getSecret returns an empty Secret when there is none.
func getSecret(ctx context.Context, c *kube.Client, name string) (*corev1.Secret, error) {
	s, err := c.Clientset().CoreV1().Secrets(pai.SystemNamespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return &corev1.Secret{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read secret %s: %w", name, err)
	}
	return s, nil
}

func applySecret(ctx context.Context, c *kube.Client, name string, kind corev1.SecretType, data map[string][]byte) error {
	content := map[string]any{}
	for key, value := range data {
		content[key] = base64.StdEncoding.EncodeToString(value)
	}
	// The namespace itself is written by whoever brings the cluster up.
	if err := c.EnsureNamespace(ctx, pai.SystemNamespace); err != nil {
		return err
	}
	secret := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": string(kind), "data": content,
		"metadata": map[string]any{"namespace": pai.SystemNamespace, "name": name},
	}}
	if _, err := c.Apply(ctx, []*unstructured.Unstructured{secret}, kube.ApplyOptions{}); err != nil {
		return fmt.Errorf("write secret %s: %w", name, err)
	}
	return nil
}
