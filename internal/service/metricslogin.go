package service

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"

	"golang.org/x/crypto/bcrypt"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
)

// metricsSecret has the logins to metrics, in SystemNamespace: that of Prometheus to
// what it scrapes, and that of people to Prometheus. For each, it has the password, and
// the file in which programs of Prometheus read who can log in. Scraping sends its
// password over the network of the machines, so the two differ.
const metricsSecret = "metrics-login"

// metricsLogins are the users of metricsSecret.
var metricsLogins = []string{"scrape", "reader"}

// ensureMetricsLogin creates what is missing of metricsSecret.
func ensureMetricsLogin(ctx context.Context, client *kube.Client) error {
	held, err := client.Clientset().CoreV1().Secrets(pai.SystemNamespace).Get(ctx, metricsSecret, metav1.GetOptions{})
	exists := !apierrors.IsNotFound(err)
	if exists && err != nil {
		return fmt.Errorf("read secret %s: %w", metricsSecret, err)
	}
	data := map[string][]byte{}
	for _, user := range metricsLogins {
		if exists && len(held.Data[passwordKey(user)]) > 0 && len(held.Data[loginKey(user)]) > 0 {
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
	return writeSecret(ctx, client, metricsSecret, held, exists, data)
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
	return password, fmt.Appendf(nil, "basic_auth_users:\n  %s: %s\n", user, hash), nil
}
