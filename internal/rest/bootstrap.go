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
	"k8s.io/client-go/kubernetes"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
)

// The Secrets in pai.SystemNamespace that the chart uses, besides usersSecret.
// The server cannot read the key of the CA.
const (
	caSecret  = pai.RESTServerCA
	tlsSecret = pai.RESTServerTLS
	// AdminUser is the first administrator.
	AdminUser = "admin"
)

// Endpoint is where clients reach a server of PAI.
type Endpoint struct {
	// Addresses are the addresses of the machines, which clients use.
	Addresses []string
	Port      int
}

// Bootstrap are the arguments of EnsureSecrets.
type Bootstrap struct {
	Endpoint
	// Users is the form in which the release stores its users.
	Users UsersForm
	// Saved is the access that an earlier call returned; zero if none was saved.
	Saved Access
	// Note says what a new token is for.
	Note string
}

// EnsureSecrets makes the Secrets of the REST server before its chart is
// applied: the CA, the certificates of the server and of node-exporter, and the users.
// It returns the access of AdminUser. A further call changes only what is missing or expires
// soon.
//
// The cluster stores hashes of tokens, not tokens. EnsureSecrets returns the
// token of b.Saved if it is valid and a third of its life is left. Otherwise it
// adds a token; the others stay valid until they expire.
func EnsureSecrets(ctx context.Context, c *kube.Client, b Bootstrap) (Access, error) {
	return ensureSecrets(ctx, c, b, time.Now())
}

func ensureSecrets(ctx context.Context, c *kube.Client, b Bootstrap, now time.Time) (Access, error) {
	ca, err := ensureCA(ctx, c, now)
	if err != nil {
		return Access{}, err
	}
	names := b.names("rest-server")
	_, err = ensurePair(ctx, c, tlsSecret,
		func(p keyPair) bool { return p.serves(ca, names, now) },
		func() (keyPair, error) { return newServerCert(ca, names, now) })
	if err != nil {
		return Access{}, err
	}
	metrics := []string{pai.MetricsServer}
	_, err = ensurePair(ctx, c, pai.MetricsTLS,
		func(p keyPair) bool { return p.serves(ca, metrics, now) },
		func() (keyPair, error) { return newServerCert(ca, metrics, now) })
	if err != nil {
		return Access{}, err
	}
	token, err := ensureAdmin(ctx, c, b.Users, b.Saved.Token, b.Note, now)
	if err != nil {
		return Access{}, err
	}
	return b.access(ca.cert, AdminUser, token), nil
}

func ensureCA(ctx context.Context, c *kube.Client, now time.Time) (keyPair, error) {
	return ensurePair(ctx, c, caSecret, func(p keyPair) bool {
		cert, err := parseCert(p.cert)
		return err == nil && now.Before(cert.NotAfter.Add(-leafLife))
	}, func() (keyPair, error) { return newCA(now) })
}

// names are those of the certificate of a service that clients reach on the machines.
func (e Endpoint) names(service string) []string {
	return append([]string{"localhost", "127.0.0.1", service, service + "." + pai.SystemNamespace + ".svc"}, e.Addresses...)
}

func (e Endpoint) access(ca []byte, user, token string) Access {
	return Access{URLs: e.URLs(), CA: ca, User: user, Token: token}
}

// URLs are equivalent addresses, one for each machine.
func (e Endpoint) URLs() (urls []string) {
	for _, a := range e.Addresses {
		urls = append(urls, "https://"+net.JoinHostPort(a, strconv.Itoa(e.Port)))
	}
	return urls
}

// AccessTo returns the access of a user with a token, after EnsureSecrets.
func AccessTo(ctx context.Context, c *kube.Client, e Endpoint, user, token string) (Access, error) {
	secret, err := getSecret(ctx, c, caSecret)
	if err == nil && len(secret.Data[corev1.TLSCertKey]) == 0 {
		err = pai.Errorf(pai.CodeFailed, "start the services; run: paictl service start", "the REST server has no certificate yet")
	}
	return e.access(secret.Data[corev1.TLSCertKey], user, token), err
}

// ensurePair returns the pair in a Secret. It replaces a pair that is not valid.
func ensurePair(ctx context.Context, c *kube.Client, name string, valid func(keyPair) bool, create func() (keyPair, error)) (keyPair, error) {
	secret, err := getSecret(ctx, c, name)
	if err != nil {
		return keyPair{}, err
	}
	pair := keyPair{cert: secret.Data[corev1.TLSCertKey], key: secret.Data[corev1.TLSPrivateKeyKey]}
	if valid(pair) {
		return pair, nil
	}
	if pair, err = create(); err != nil {
		return keyPair{}, err
	}
	return pair, applySecret(ctx, c, name, corev1.SecretTypeTLS, map[string][]byte{
		corev1.TLSCertKey: pair.cert, corev1.TLSPrivateKeyKey: pair.key,
	})
}

// ensureAdmin returns a token of the first administrator. Stored users keep
// their form: servers of the previous release might still read it, and a
// migration changes it.
func ensureAdmin(ctx context.Context, c *kube.Client, form UsersForm, saved, note string, now time.Time) (string, error) {
	secret, err := getSecret(ctx, c, usersSecret)
	if err != nil {
		return "", err
	}
	if found := formOf(secret); found == UsersByEntry && form == UsersDocument {
		return "", pai.Errorf(pai.CodeRefused, "roll back the services, which converts the users; run: paictl upgrade rollback",
			"the users are stored in the form of a newer release, which this release cannot read")
	} else if found != "" {
		form = found
	}
	dir, _ := readDirectory(secret, form) // a token that cannot be read is replaced
	if holder, t, ok := dir.holder(hashToken(saved), now); ok && saved != "" && holder.Name == AdminUser && !t.expired(now.Add(TokenLife/3)) {
		return saved, nil
	}
	fresh := newToken()
	t := token{SHA256: hashToken(fresh), Created: now.UTC(), Expires: now.Add(TokenLife).UTC(), Note: note}
	return fresh, changeUsers(ctx, c, form, func(d *directory) error {
		d.addToken(AdminUser, true, t)
		return nil
	})
}

// HasAccess reports whether the token of a saved access is valid.
func HasAccess(ctx context.Context, c interface{ Clientset() kubernetes.Interface }, saved Access) (bool, error) {
	secret, err := getSecret(ctx, c, usersSecret)
	if err != nil || saved.Token == "" {
		return false, err
	}
	dir, _ := readDirectory(secret, formOf(secret)) // a token that cannot be read is not valid
	_, _, valid := dir.holder(hashToken(saved.Token), time.Now())
	return valid, nil
}

// getSecret returns an empty Secret if it does not exist.
func getSecret(ctx context.Context, c interface{ Clientset() kubernetes.Interface }, name string) (*corev1.Secret, error) {
	s, err := c.Clientset().CoreV1().Secrets(pai.SystemNamespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return &corev1.Secret{}, nil
	}
	if err != nil {
		return &corev1.Secret{}, fmt.Errorf("read secret %s: %w", name, err)
	}
	return s, nil
}

func applySecret(ctx context.Context, c *kube.Client, name string, kind corev1.SecretType, data map[string][]byte) error {
	content := map[string]any{}
	for key, value := range data {
		content[key] = base64.StdEncoding.EncodeToString(value)
	}
	// The boot of the cluster writes the full namespace.
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
