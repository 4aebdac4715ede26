package rest

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/job"
)

// FuzzRequest makes requests with any path, query, and body. None is an error of the server.
func FuzzRequest(f *testing.F) {
	f.Add("GET", "/api/v2/jobs/alice~train/logs", "index=1&tail=-1&follow=true&since=x", "")
	f.Add("GET", "/api/v2/jobs", "username=a&state=RUNNING&limit=-1&offset=9223372036854775808&order=x", "")
	f.Add("PUT", "/api/v2/jobs/alice~train/executionType", "", `{"value":"STOP"}`)
	f.Add("POST", "/api/v2/jobs", "virtualCluster=%00", "name: x\n")
	f.Add("GET", "/api/v2/jobs/~/config", "%zz", "")
	f.Fuzz(func(t *testing.T, method, path, query, body string) {
		s := &scripted{jobs: []job.Status{{}}, logs: func(context.Context, LogOptions) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader("a\n")), nil
		}}
		h := &Handler{Jobs: s, Users: tokens{"secret": {Name: "alice"}}, Log: slog.New(slog.DiscardHandler)}
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", strings.NewReader(body))
		req.Method, req.URL = method, &url.URL{Path: path, RawQuery: query}
		req.Header.Set("Authorization", "Bearer secret")
		answer := &deadlines{httptest.NewRecorder()}
		h.Routes().ServeHTTP(answer, req)
		if answer.Code >= 500 {
			t.Errorf("%s %s?%s: got %d: %.300s", method, path, query, answer.Code, answer.Body)
		}
	})
}

// deadlines is a recorder that has the deadlines of a connection.
type deadlines struct{ *httptest.ResponseRecorder }

func (*deadlines) SetReadDeadline(time.Time) error  { return nil }
func (*deadlines) SetWriteDeadline(time.Time) error { return nil }
