package service

import (
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
