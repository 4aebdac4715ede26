package service

import (
	"io/fs"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"pai.dev/pai/internal/pai"
)

func TestMetricsLoginsDiffer(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, user := range slices.Concat(metricsLogins, alertsLogins) {
		password, login, err := newLogin(user)
		if err != nil {
			t.Fatal(err)
		}
		text, ok := strings.CutPrefix(string(login), "basic_auth_users:\n  "+user+": ")
		hash, rest, _ := strings.Cut(text, "\n")
		if encrypted := strings.Contains(rest, "tls_server_config:\n  cert_file: /etc/tls/tls.crt\n  key_file: /etc/tls/tls.key\n"); encrypted != (user != "reader") {
			t.Errorf("%s: got %q, want TLS only for what crosses the network of the machines", user, rest)
		}
		if !ok || bcrypt.CompareHashAndPassword([]byte(hash), password) != nil || len(password) < 32 {
			t.Errorf("%s: got %q, which does not let its password in", user, login)
		}
		if seen[string(password)] || strings.Contains(string(login), string(password)) {
			t.Errorf("%s: the password is not new, or not hashed", user)
		}
		seen[string(password)] = true
	}
}

// A password and a token go only to a server whose certificate is checked, and Kueue shows
// the certificate that Prometheus knows.
func TestPrometheusChecksEveryCertificate(t *testing.T) {
	all := sources(t)
	newest := all[len(all)-1]
	objs, err := Render(t.Context(), oneService(t, newest, "prometheus", nil), testConfig(), newest)
	if err != nil {
		t.Fatal(err)
	}
	text := readable(t, objs)
	if strings.Contains(text, "insecure_skip_verify") || strings.Count(text, "scheme: https") != strings.Count(text, "ca_file:") {
		t.Errorf("a certificate is not checked in\n%s", text)
	}
	if !strings.Contains(text, "server_name: kueue-webhook-service.pai-system.svc") || !strings.Contains(text, "secretName: kueue-webhook-server-cert") {
		t.Errorf("the authority of Kueue is not known in\n%s", text)
	}
	if !strings.Contains(text, "server_name: node-exporter") {
		t.Errorf("the name of node-exporter is not checked in\n%s", text)
	}
	exporter, err := Render(t.Context(), oneService(t, newest, "node-exporter", nil), testConfig(), newest)
	if err != nil {
		t.Fatal(err)
	}
	if got := readable(t, exporter); !strings.Contains(got, "secretName: "+pai.MetricsTLS) || !strings.Contains(got, "mountPath: /etc/tls") {
		t.Errorf("node-exporter has no certificate:\n%s", got)
	}
	kueue, err := fs.ReadFile(newest.services(), "kueue/patches.yaml.tmpl")
	if err != nil || !strings.Contains(string(kueue), "{name: cert, mountPath: /tmp/k8s-metrics-server/serving-certs, readOnly: true}") {
		t.Errorf("Kueue does not show the certificate of its webhooks: %v", err)
	}
}
