package service

import (
	"io/fs"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

func TestMetricsLoginsDiffer(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, user := range metricsLogins {
		password, login, err := newLogin(user)
		if err != nil {
			t.Fatal(err)
		}
		hash, ok := strings.CutPrefix(strings.TrimSpace(string(login)), "basic_auth_users:\n  "+user+": ")
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
	kueue, err := fs.ReadFile(newest.services(), "kueue/patches.yaml.tmpl")
	if err != nil || !strings.Contains(string(kueue), "{name: cert, mountPath: /tmp/k8s-metrics-server/serving-certs, readOnly: true}") {
		t.Errorf("Kueue does not show the certificate of its webhooks: %v", err)
	}
}
