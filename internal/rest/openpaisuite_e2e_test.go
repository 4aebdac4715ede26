//go:build e2e

package rest

import "testing"

// OpenPAI's suite passes against the REST server on a real API, with the rights that its
// chart gives it.
func TestOpenPAISuiteOnARealAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "default")
	accounts := Accounts{Store: w.cluster.Client, VirtualClusters: w.virtualClusters}
	if _, err := accounts.Create(t.Context(), "sdk_test", UserChange{Password: new("secret-sdk_test"), Admin: new(true)}); err != nil {
		t.Fatal(err)
	}
	token, _, err := NewLogins(accounts).Login(t.Context(), "sdk_test", "secret-sdk_test", 0)
	if err != nil {
		t.Fatal(err)
	}
	runOpenPAISuite(t, w.access.URLs[0], "sdk_test", "secret-sdk_test", token, w.access.CA)
}
