package portal

import (
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"
)

const (
	// maxInProgress is how many requests of users one portal has in progress, streams
	// among them.
	maxInProgress = 2000
	// maxStrangers is the same for requests without a session. They end soon.
	maxStrangers = 200
)

// Handler serves the portal.
type Handler struct {
	// REST is the address of the REST server, without a path.
	REST *url.URL
	// Transport connects to it; see NewTransport.
	Transport http.RoundTripper
	Keys      *Keys
	// Dist is the built page.
	Dist fs.FS
	Log  *slog.Logger
	// Draining reports that the server is about to end and is no longer ready.
	Draining func() bool
	// Ended is closed when streams must end.
	Ended <-chan struct{}

	routes                []route
	proxy                 *httputil.ReverseProxy
	inProgress, strangers chan struct{}
}

// Routes is the handler of all requests. Call it once.
func (h *Handler) Routes() (http.Handler, error) {
	pages, err := newPage(h.Dist)
	if err != nil {
		return nil, err
	}
	if err := h.Keys.Check(); err != nil {
		return nil, err
	}
	h.routes, h.proxy = routes(), h.newProxy()
	h.inProgress, h.strangers = make(chan struct{}, maxInProgress), make(chan struct{}, maxStrangers)
	serve := func(w http.ResponseWriter, req *http.Request) {
		switch path := req.URL.Path; {
		case path == "/healthz":
			_, _ = io.WriteString(w, "ok\n")
		case path == "/readyz":
			h.readyz(w)
		case strings.HasPrefix(path, "/api/") || path == "/api":
			h.api(w, req)
		default:
			pages.ServeHTTP(w, req)
		}
	}
	return h.logged(h.recovered(protect(h.bounded(http.HandlerFunc(serve))))), nil
}

// api serves what the scripts of the page ask for.
func (h *Handler) api(w http.ResponseWriter, req *http.Request) {
	if err := fromThisPage(req); err != nil {
		fail(w, err)
		return
	}
	switch path := req.URL.Path; {
	case strings.HasPrefix(path, restPrefix+"/"):
		h.forward(w, req)
	case path != "/api/session":
		fail(w, errNotFound)
	case req.Method == http.MethodPost:
		h.signIn(w, req)
	case req.Method == http.MethodGet:
		h.showSession(w, req)
	case req.Method == http.MethodDelete:
		h.signOut(w, req)
	default:
		w.Header().Set("Allow", "GET, POST, DELETE")
		fail(w, errMethod)
	}
}

// readyz does not ask the REST server: without it the page still shows what it knew.
func (h *Handler) readyz(w http.ResponseWriter) {
	if h.Draining != nil && h.Draining() {
		http.Error(w, "ending", http.StatusServiceUnavailable)
		return
	}
	_, _ = io.WriteString(w, "ok\n")
}

// bounded refuses requests above the limit, except those of the kubelet. Those without
// a session have a separate limit: every client that reaches the portal can send them.
func (h *Handler) bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path != "/healthz" && req.URL.Path != "/readyz" {
			slots := h.inProgress
			if _, err := h.session(req); err != nil {
				slots = h.strangers
			}
			select {
			case slots <- struct{}{}:
				defer func() { <-slots }()
			default:
				fail(w, errFull)
				return
			}
		}
		next.ServeHTTP(w, req)
	})
}

// recovered answers a request that panicked, without the stack trace.
func (h *Handler) recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		defer func() {
			switch v := recover(); v {
			case nil:
			case http.ErrAbortHandler:
				panic(v)
			default:
				h.Log.Error("request handler failed", "method", req.Method, "path", logPath(req.URL.Path), "panic", v)
				fail(w, errInternal)
			}
		}()
		next.ServeHTTP(w, req)
	})
}

// logged writes one line for each request of a script, without query, headers, and body.
func (h *Handler) logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		start := time.Now()
		status := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		defer func() { //nolint:contextcheck // its context is that of req
			level := slog.LevelDebug
			if strings.HasPrefix(req.URL.Path, "/api/") {
				level = slog.LevelInfo
			}
			h.Log.Log(req.Context(), level, "request", "method", req.Method, "path", logPath(req.URL.Path),
				"status", status.status, "seconds", time.Since(start).Seconds())
		}()
		next.ServeHTTP(status, req)
	})
}

// logPath is a path without a token: it has one when a token is revoked.
func logPath(path string) string {
	before, after, found := strings.Cut(path, "/tokens/")
	if !found || after == "application" || after == "check" {
		return path
	}
	return before + "/tokens/…"
}

// statusWriter records the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (s *statusWriter) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (s *statusWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }
