//go:build browser

package browser

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/portal"
	"pai.dev/pai/internal/rest"
	"pai.dev/pai/web"
)

// store keeps the users of the REST server in memory. Nothing else of it is called.
type store struct {
	rest.Cluster
	clientset kubernetes.Interface
}

func (s store) Clientset() kubernetes.Interface                        { return s.clientset }
func (store) EnsureNamespace(context.Context, string) error            { return nil }
func (store) Create(context.Context, *unstructured.Unstructured) error { return nil }

func (s store) PatchUnchanged(ctx context.Context, r kube.Ref, patch []byte) error {
	_, err := s.clientset.CoreV1().Secrets(r.Namespace).Patch(ctx, r.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	return err
}

const password = "correct horse battery"

// away is the way to a REST server that can be made unreachable.
type away struct {
	http.RoundTripper
	on atomic.Bool
}

func (a *away) RoundTrip(req *http.Request) (*http.Response, error) {
	if a.on.Load() {
		return nil, errors.New("connection refused")
	}
	resp, err := a.RoundTripper.RoundTrip(req)
	return resp, err
}

// TestPages runs the checks of web/browser in Chromium against a portal.
func TestPages(t *testing.T) {
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("chromium is missing; run: make deps")
	}
	quiet := slog.New(slog.DiscardHandler)
	s := store{clientset: fake.NewClientset(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: pai.SystemNamespace, Name: pai.UsersSecret, ResourceVersion: "1"}})}
	users := rest.NewUsers(s, rest.UsersByEntry, func(err error) { t.Error(err) }).WithVirtualClusters([]string{"default", "research"})
	accounts := users.Accounts(s)
	for name, admin := range map[string]bool{"ada": true, "bob": false} {
		text := password
		if _, err := accounts.Create(t.Context(), name, rest.UserChange{Password: &text, Admin: &admin}); err != nil {
			t.Fatal(err)
		}
	}
	c := newCluster()
	server := httptest.NewTLSServer((&rest.Handler{Jobs: c, Cluster: c, Operations: c, Users: users, Release: "v0.11", Log: quiet, Logins: rest.NewLogins(accounts)}).Routes())
	t.Cleanup(server.Close)
	address, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}

	key := make([]byte, portal.KeySize)
	_, _ = rand.Read(key)
	keyFile := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(keyFile, key, 0o600); err != nil {
		t.Fatal(err)
	}
	way := &away{RoundTripper: server.Client().Transport}
	routes, err := (&portal.Handler{REST: address, Transport: way, Keys: &portal.Keys{File: keyFile}, Dist: web.Dist(), Log: quiet}).Routes()
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", routes)
	// The checks make the REST server unreachable, and break the streams that are open.
	mux.HandleFunc("/test/away/", func(_ http.ResponseWriter, req *http.Request) {
		way.on.Store(filepath.Base(req.URL.Path) == "on")
		if way.on.Load() {
			server.CloseClientConnections()
		}
	})
	mux.HandleFunc("/test/incomplete/", func(_ http.ResponseWriter, req *http.Request) {
		c.incomplete.Store(filepath.Base(req.URL.Path) == "on")
	})
	page := httptest.NewTLSServer(mux)
	t.Cleanup(page.Close)

	ctx, cancel := context.WithTimeoutCause(t.Context(), 4*time.Minute, errors.New("the checks took longer than 4 minutes"))
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "run.mjs")
	cmd.Dir = "../../web/browser"
	cmd.Env = append(os.Environ(), "PAI_PORTAL="+page.URL, "PAI_PASSWORD="+password, "PAI_CHROMIUM="+chromium)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("checks of the page failed (above): %v %v", err, context.Cause(ctx))
	}
}
