package cluster

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
)

// loopback is a machine that is this one; only Dial works.
type loopback struct{ machine.Host }

func (loopback) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, address)
}

func TestProbe(t *testing.T) {
	t.Parallel()
	code := http.StatusOK
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "because", code)
	}))
	t.Cleanup(server.Close)
	own := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := probe(t.Context(), loopback{}, server.URL, nil); err != nil {
		t.Errorf("a component that signs its own certificate: %v", err)
	}
	// httptest's certificate is not for the API's name.
	var hostname *tls.CertificateVerificationError
	if err := probe(t.Context(), loopback{}, server.URL, own); !errors.As(err, &hostname) {
		t.Errorf("an API server with another name was believed: %v", err)
	}
	code = http.StatusInternalServerError
	if err := probe(t.Context(), loopback{}, server.URL, nil); err == nil || !strings.Contains(err.Error(), "because") {
		t.Errorf("a component that is not healthy: %v", err)
	}
}

func TestAtAddress(t *testing.T) {
	t.Parallel()
	kubeconfig, err := bootstrapKubeconfig(layout.APIServerURL(6443), []byte("ca"), "token")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(kubeconfig), "server: https://api.pai.internal:6443") {
		t.Fatalf("kubeconfig:\n%s", kubeconfig)
	}
	for address, want := range map[string]string{"10.9.0.11": "https://10.9.0.11:6443", "fd00::1": "https://[fd00::1]:6443"} {
		got, err := atAddress(kubeconfig, address)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(got), "server: "+want+"\n") || strings.Contains(string(got), layout.APIName) {
			t.Errorf("%s: kubeconfig:\n%s", address, got)
		}
	}
	if !hasAuthority(kubeconfig, []byte("ca\n")) || hasAuthority(kubeconfig, []byte("other")) || hasAuthority([]byte("{"), nil) {
		t.Error("a kubeconfig of another cluster was accepted")
	}
	if _, err := atAddress([]byte("{"), "10.9.0.11"); err == nil {
		t.Error("a damaged kubeconfig was accepted")
	}
}
