//go:build e2e

package service

import (
	"maps"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/test/kubetest"
)

// The logins are made once; one that is missing is added.
func TestMetricsNeedALogin(t *testing.T) {
	t.Parallel()
	client := kubetest.Start(t).Client
	ensure := func() map[string]string {
		t.Helper()
		if err := ensureMetricsLogin(t.Context(), client); err != nil {
			t.Fatal(err)
		}
		s, err := client.Clientset().CoreV1().Secrets("pai-system").Get(t.Context(), metricsSecret, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		data := map[string]string{}
		for key, value := range s.Data {
			data[key] = string(value)
		}
		return data
	}
	first := ensure()
	if len(first) != 4 || !maps.Equal(first, ensure()) {
		t.Errorf("got %d keys, or others the second time, want the same four", len(first))
	}
	secrets := client.Clientset().CoreV1().Secrets("pai-system")
	s, err := secrets.Get(t.Context(), metricsSecret, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	delete(s.Data, "reader.yml")
	if _, err := secrets.Update(t.Context(), s, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := ensure(); len(got) != 4 || got["scrape-password"] != first["scrape-password"] || got["reader-password"] == first["reader-password"] {
		t.Errorf("got %d keys, want a new login of the reader alone", len(got))
	}
}
