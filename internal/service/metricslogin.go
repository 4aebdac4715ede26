package service

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/crypto/bcrypt"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
)

// metricsSecret has the logins to metrics, in SystemNamespace: that of Prometheus to
// what it scrapes, and that of people to Prometheus. For each, it has the password, and
// the file in which programs of Prometheus read who can log in. Every machine has the
// password of scraping, so the two differ.
const metricsSecret = "metrics-login"

// alertsSecret has the login of Prometheus to Alertmanager. Who has it can make alerts and
// silences. It is a separate Secret, because the kubelet of every machine reads
// metricsSecret, and only that of the control-plane machine this one.
const alertsSecret = "alertmanager-login"

// settings is what the file of a user has besides the login. The passwords of Prometheus
// cross the network of the machines, so node-exporter and Alertmanager take them only over TLS.
var settings = map[string]string{"scrape": withTLS, "alerts": withTLS}

const withTLS = "tls_server_config:\n  cert_file: /etc/tls/tls.crt\n  key_file: /etc/tls/tls.key\n"

// metricsLogins are the users of metricsSecret, alertsLogins those of alertsSecret.
var (
	metricsLogins = []string{"scrape", "reader"}
	alertsLogins  = []string{"alerts"}
)

// loginsOnce makes the logins once for all services of an operation that need them.
type loginsOnce struct {
	mu   sync.Mutex // services start in parallel
	made bool
}

func (m *loginsOnce) ensure(ctx context.Context, client *kube.Client) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.made {
		return nil
	}
	err := ensureMetricsLogin(ctx, client)
	m.made = err == nil
	return err
}

// ensureMetricsLogin creates what is missing of both Secrets.
func ensureMetricsLogin(ctx context.Context, client *kube.Client) error {
	if err := ensureLogins(ctx, client, metricsSecret, metricsLogins); err != nil {
		return err
	}
	return ensureLogins(ctx, client, alertsSecret, alertsLogins)
}

// ensureLogins creates what is missing of the logins in a Secret.
func ensureLogins(ctx context.Context, client *kube.Client, name string, users []string) error {
	held, err := client.Clientset().CoreV1().Secrets(pai.SystemNamespace).Get(ctx, name, metav1.GetOptions{})
	exists := !apierrors.IsNotFound(err)
	if exists && err != nil {
		return fmt.Errorf("read secret %s: %w", name, err)
	}
	data := map[string][]byte{}
	for _, user := range users {
		if exists && len(held.Data[passwordKey(user)]) > 0 && strings.HasSuffix(string(held.Data[loginKey(user)]), settings[user]) && len(held.Data[loginKey(user)]) > 0 {
			continue
		}
		password, login, err := newLogin(user)
		if err != nil {
			return err
		}
		data[passwordKey(user)], data[loginKey(user)] = password, login
	}
	if len(data) == 0 {
		return nil
	}
	return writeSecret(ctx, client, name, held, exists, data)
}

func passwordKey(user string) string { return user + "-password" }

// loginKey is the key of the file that --web.config.file names.
func loginKey(user string) string { return user + ".yml" }

func newLogin(user string) (password, login []byte, err error) {
	secret := make([]byte, 24)
	if _, err := rand.Read(secret); err != nil {
		return nil, nil, fmt.Errorf("generate a password: %w", err)
	}
	password = []byte(base64.RawURLEncoding.EncodeToString(secret))
	// The password has 192 bits, so the hash needs no cost.
	hash, err := bcrypt.GenerateFromPassword(password, bcrypt.MinCost)
	if err != nil {
		return nil, nil, fmt.Errorf("hash a password: %w", err)
	}
	return password, fmt.Appendf(nil, "basic_auth_users:\n  %s: %s\n%s", user, hash, settings[user]), nil
}
