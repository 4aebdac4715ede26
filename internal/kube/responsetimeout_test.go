package kube

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// A request without a response ends and is retried. A slow body does not end it.
func TestResponseTimeout(t *testing.T) {
	t.Parallel()
	const limit = 100 * time.Millisecond
	slow := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/slow" {
			<-r.Context().Done()
			return
		}
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		<-slow
		_, _ = io.WriteString(w, "done") // who does not read it fails below
	}))
	defer server.Close()

	cfg := &rest.Config{Host: server.URL}
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return responseTimeout{next, limit} })
	api, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err = api.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err == nil || ctx.Err() != nil {
		t.Fatalf("a call without a response ended with %v, the context with %v", err, ctx.Err())
	}
	if why := transient(err); why == "" {
		t.Errorf("%v is not tried again", err)
	}

	client := http.Client{Transport: responseTimeout{http.DefaultTransport, limit}}
	resp, err := client.Get(server.URL + "/slow")
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * limit)
	close(slow)
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "done" {
		t.Errorf("a slow answer: %q, %v", body, err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
}
