package kube

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// A request without a response ends and is retried. A slow body does not end it.
func TestResponseTimeout(t *testing.T) {
	t.Parallel()
	const limit = 100 * time.Millisecond
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer server.Close()

	cfg := &rest.Config{Host: server.URL}
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return responseTimeout{next, limit} })
	api, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err = api.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err == nil || ctx.Err() != nil {
		t.Fatalf("a call without a response ended with %v, the context with %v", err, ctx.Err())
	}
	if why := transient(err); why == "" {
		t.Errorf("%v is not tried again", err)
	}

	synctest.Test(t, func(t *testing.T) { // where a busy host answers at once
		body, answer := io.Pipe()
		client := http.Client{Transport: responseTimeout{roundTripper(func(r *http.Request) (*http.Response, error) {
			context.AfterFunc(r.Context(), func() { answer.CloseWithError(context.Cause(r.Context())) })
			return &http.Response{StatusCode: http.StatusOK, Body: body}, nil
		}), limit}}
		resp, err := client.Get("http://slow.example")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * limit)
		go func() {
			_, _ = io.WriteString(answer, "done") // who does not read it fails below
			answer.Close()
		}()
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "done" {
			t.Errorf("a slow answer: %q, %v", body, err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
