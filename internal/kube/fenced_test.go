package kube

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"pai.dev/pai/internal/fence"
)

// A process that has lost the lock reads, and writes nothing.
func TestWritesNeedTheLock(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var sent []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		sent = append(sent, r.Method)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a","namespace":"b"}}`))
	}))
	defer server.Close()
	client, err := FromConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	maps := client.Clientset().CoreV1().ConfigMaps("b")
	var lost error
	ctx := fence.With(t.Context(), fence.Fence{Token: "TOKEN", Held: func() error { return lost }})
	if _, err := maps.Update(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a"}}, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	lost = errors.New("the lock is lost")
	if _, err := maps.Update(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "a"}}, metav1.UpdateOptions{}); !errors.Is(err, lost) {
		t.Errorf("an update: got %v, want %v", err, lost)
	}
	if err := maps.Delete(ctx, "a", metav1.DeleteOptions{}); !errors.Is(err, lost) {
		t.Errorf("a deletion: got %v, want %v", err, lost)
	}
	if _, err := maps.Get(ctx, "a", metav1.GetOptions{}); err != nil {
		t.Errorf("a read: %v", err)
	}
	body := &closed{Reader: strings.NewReader("{}")}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL, body)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (fenced{http.DefaultTransport}).RoundTrip(request); !errors.Is(err, lost) || !body.closed { //nolint:bodyclose // there is no answer
		t.Errorf("got %v, and the body is closed: %v", err, body.closed)
	}
	if got := strings.Join(sent, " "); got != "PUT GET" {
		t.Errorf("got the requests %s, want PUT GET", got)
	}
}

// closed is the body of a request that knows whether it was closed.
type closed struct {
	io.Reader
	closed bool
}

func (c *closed) Close() error {
	c.closed = true
	return nil
}
