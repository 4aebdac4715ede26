package operation

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	k8srest "k8s.io/client-go/rest"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/rest"
	"pai.dev/pai/internal/session"
	"pai.dev/pai/test/runtest"
)

// Without credentials on this host, a REST server that runs counts as not started, so that
// `service start` makes them.
func TestAccessOfThisHost(t *testing.T) {
	t.Parallel()
	s := &session.Session{Config: &config.Config{}, Dirs: session.Dirs{State: t.TempDir()}}
	s.Config.Services.Cluster.Common.ClusterID = "lab"
	o := newOperation(s, nil, RunOptions{})
	if is, err := o.accessIsThere(t.Context()); is || err != nil {
		t.Errorf("without a file: %t, %v", is, err)
	}
	file := filepath.Join(s.ClusterDir(), rest.AccessFile)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if is, err := o.accessIsThere(t.Context()); is || err == nil {
		t.Errorf("with a damaged file: %t, %v", is, err)
	}
}

// Two services that make the CA of the REST server at the same time would make two. So the portal,
// which can start beside that server, has it made in the way of all others.
func TestPortalWaitsForTheCertificateAuthority(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "closed", http.StatusForbidden) }))
	t.Cleanup(server.Close)
	client, err := kube.FromConfig(&k8srest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	o := newOperation(testSession(t, runtest.Dir(t.TempDir()), nil), nil, RunOptions{})
	for _, service := range []string{PortalService, "prometheus"} {
		err := o.before("v0.10")[service](t.Context(), client)
		if err == nil || !strings.Contains(err.Error(), "make secrets of the REST server") {
			t.Errorf("%s: got %v, want the error of the secrets of the REST server", service, err)
		}
	}
}

func TestBoth(t *testing.T) {
	t.Parallel()
	failure := errors.New("no connection")
	answer := func(is bool, err error) func(context.Context) (bool, error) {
		return func(context.Context) (bool, error) { return is, err }
	}
	for name, c := range map[string]struct {
		first, second func(context.Context) (bool, error)
		is            bool
		err           error
	}{
		"both":             {answer(true, nil), answer(true, nil), true, nil},
		"the first":        {answer(true, nil), answer(false, nil), false, nil},
		"the second":       {answer(false, nil), answer(true, nil), false, nil},
		"an unknown one":   {answer(true, failure), answer(true, nil), false, failure},
		"unknown after it": {answer(true, nil), answer(false, failure), false, failure},
	} {
		if is, err := both(c.first, c.second)(t.Context()); is != c.is || !errors.Is(err, c.err) {
			t.Errorf("%s: %t, %v", name, is, err)
		}
	}
}
