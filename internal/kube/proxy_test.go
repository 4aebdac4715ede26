package kube

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"k8s.io/client-go/rest"
)

// The variables of a proxy are read once per process, so the test has the last word
// only in the configuration: the transport must have a proxy function.
func TestClientUsesNoProxy(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:9")
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:9")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"major":"1","minor":"37"}`))
	}))
	t.Cleanup(server.Close)
	client, err := FromConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	config := client.RESTConfig()
	if config.Proxy == nil {
		t.Fatal("the client would ask the environment for a proxy")
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://10.0.0.1:6443/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if proxy, err := config.Proxy(request); proxy != nil || err != nil {
		t.Errorf("got proxy %v, %v, want none", proxy, err)
	}
	if _, err := client.Clientset().Discovery().ServerVersion(); err != nil {
		t.Error(err)
	}
}
