package rest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/poll"
)

// Info describes the server. It needs no token.
type Info struct {
	Name     string `json:"name"`
	Release  string `json:"release"`
	API      string `json:"api"`
	Protocol int    `json:"protocol"`
}

// Handler serves a JobAPI over HTTP.
type Handler struct {
	Jobs    JobAPI
	Users   Authenticator
	Release string
	Log     *slog.Logger
	// Policy decides what callers can do.
	Policy identity.Policy
	// Logins checks passwords and changes accounts; without it, the operations on
	// accounts fail.
	Logins *Logins
	// Cluster is what clients of OpenPAI need besides Jobs.
	Cluster ClusterAPI
	// Operations reads what operations on the cluster publish.
	Operations OperationAPI
	// Storages are all that the configuration has.
	Storages []pai.Storage
	// History reads earlier attempts; nil for those that Jobs knows.
	History History
	// HistoryRecorded is when this server last recorded all jobs in the history; nil
	// without a history.
	HistoryRecorded func() time.Time
	// LinkKey returns the key that signs links to output, which all servers share.
	LinkKey func(ctx context.Context) ([]byte, error)
	// Draining reports that the server is about to end and is no longer ready.
	Draining func() bool
	// Ended is closed when followed logs must end.
	Ended <-chan struct{}
	// MetricsPassword is what a reader of the metrics sends, as basic authentication of
	// any user. Without one, no one reads them.
	MetricsPassword string

	metrics metrics
	callers callers

	documentOnce sync.Once
	document     json.RawMessage // the description of the API
	documentErr  error
}

// Authenticator identifies callers by their tokens; *Users is one.
type Authenticator interface {
	Caller(ctx context.Context, token string) (Caller, error)
	Ready(ctx context.Context) error
}

// requestTimeout ends the handling of a request, except of output.
const requestTimeout = time.Minute

// Routes is the handler of all requests. Call it once.
func (h *Handler) Routes() http.Handler { return asExpress(h.router()) }

func (h *Handler) router() chi.Router {
	h.metrics = newMetrics(h.HistoryRecorded)
	r := chi.NewRouter()
	r.Use(h.logged, h.recovered, asData)
	r.NotFound(func(w http.ResponseWriter, req *http.Request) {
		h.fail(w, req, pai.Errorf(pai.CodeNotFound, "", "%s not found", req.URL.Path))
	})
	r.MethodNotAllowed(func(w http.ResponseWriter, req *http.Request) {
		writeJSON(w, http.StatusMethodNotAllowed, errorBody{Code: string(pai.CodeUsage), Message: "method " + req.Method + " is not supported here"})
	})
	r.Get("/healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	r.Get("/readyz", h.readyz)
	r.Method(http.MethodGet, "/metrics", h.withMetricsPassword(h.metrics))
	for _, e := range h.endpoints() {
		r.Method(e.method, "/api/v2"+e.path, h.serve(e, h.fail))
		if e.path == "/jobs" {
			r.Method(e.method, "/api/v2/jobs/", h.serve(e, h.fail))
		}
	}
	h.mountOpenPAI(r)
	return r
}

func (h *Handler) info() Info {
	return Info{Name: "PAI REST server", Release: h.Release, API: "v2", Protocol: 2}
}

func (h *Handler) readyz(w http.ResponseWriter, req *http.Request) {
	if h.Draining != nil && h.Draining() {
		http.Error(w, "ending", http.StatusServiceUnavailable)
		return
	}
	if err := h.Users.Ready(req.Context()); err != nil {
		h.Log.Warn("not ready", "error", err, "details", pai.DetailsOf(err))
		http.Error(w, "not ready: the users are unknown", http.StatusServiceUnavailable) // anyone can ask
		return
	}
	_, _ = io.WriteString(w, "ok\n") // an error means that the client disconnected
}

// authenticated refuses requests without a known token.
func (h *Handler) authenticated(next http.Handler, fail func(http.ResponseWriter, *http.Request, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		token := bearer(req)
		if token == "" {
			fail(w, req, errUnauthorized)
			return
		}
		caller, err := h.Users.Caller(req.Context(), token)
		if user, _, basic := req.BasicAuth(); err == nil && basic && (user != caller.Name || !caller.Application) {
			err = errTokenInvalid
		}
		if err != nil {
			fail(w, req, err)
			return
		}
		next.ServeHTTP(w, req.WithContext(WithCaller(req.Context(), caller)))
	})
}

// bearer is the token of a request; empty if it has none. Scripts send an application
// token as the password of its user.
func bearer(req *http.Request) string {
	if _, password, ok := req.BasicAuth(); ok {
		return password
	}
	scheme, token, ok := strings.Cut(req.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return token
}

// tokenCheckEvery is how often the token and the right of a request that stays open are
// checked.
const tokenCheckEvery = 10 * time.Second

// endRevoked ends a request that stays open once its token is not valid any more, or its
// caller, whom now returns, has lost the right. The reason is the cause of its context.
func endRevoked(ctx context.Context, cancel context.CancelCauseFunc, p permit, now func(context.Context) (Caller, error)) {
	for poll.Sleep(ctx, tokenCheckEvery) == nil {
		caller, err := now(ctx)
		if err == nil {
			err = p.holdsFor(caller)
		} else if errors.Is(err, errUnavailable) && !errors.Is(err, errUsersUnknown) {
			continue
		}
		if err != nil {
			cancel(err)
			return
		}
	}
}

func (h *Handler) fail(w http.ResponseWriter, req *http.Request, err error) {
	if status, ok := h.beforeFailure(w, req, err); ok {
		writeJSON(w, status, bodyOf(err))
	}
}

// beforeFailure logs a failure and sets the headers of its answer. It returns false if
// the client disconnected.
func (h *Handler) beforeFailure(w http.ResponseWriter, req *http.Request, err error) (status int, ok bool) {
	status = statusOf(err)
	switch {
	case errors.Is(err, context.Canceled) && clientLeft(req):
		return 0, false
	case errors.Is(err, errNotStarted):
		w.Header().Set(notStartedHeader, "true")
	case status >= 500:
		h.Log.Error("request failed", "method", req.Method, "path", logPath(req), "error", err, "details", pai.DetailsOf(err))
	}
	switch status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		w.Header().Set("Retry-After", "2")
	}
	if errors.Is(err, errNotLetIn) {
		w.Header().Set("Connection", "close") // the next connection reaches another server
	}
	return status, true
}

func writeJSON(w http.ResponseWriter, status int, data any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(data) // an error means that the client disconnected
}

// logged counts requests and writes one line for each, without query, headers,
// and body.
func (h *Handler) logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		start := time.Now()
		ww := middleware.NewWrapResponseWriter(w, req.ProtoMajor)
		h.metrics.inFlight.Inc()
		defer func() { //nolint:contextcheck // its context is that of req
			took := time.Since(start)
			h.metrics.inFlight.Dec()
			if ww.Header().Get(notStartedHeader) == "" { // who follows asks again and again
				h.metrics.observe(req, ww.Status(), took)
			}
			level := slog.LevelInfo
			if !strings.HasPrefix(req.URL.Path, "/api/") {
				level = slog.LevelDebug
			}
			h.Log.Log(req.Context(), level, "request", "method", req.Method, "path", logPath(req),
				"status", ww.Status(), "bytes", ww.BytesWritten(), "seconds", took.Seconds())
		}()
		next.ServeHTTP(ww, req)
	})
}

// logPath is the path of a request without a token: clients of OpenPAI have one in the
// path when they revoke it.
func logPath(req *http.Request) string {
	before, after, found := strings.Cut(req.URL.Path, "/tokens/")
	if !found || after == "application" || after == "check" {
		return req.URL.Path
	}
	return before + "/tokens/…"
}

// methodOf and routeOf have few values, also for requests of attackers.
func methodOf(req *http.Request) string {
	switch req.Method {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete:
		return req.Method
	default:
		return "other"
	}
}

func routeOf(req *http.Request) string {
	if c := chi.RouteContext(req.Context()); c != nil && c.RoutePattern() != "" && c.RoutePattern() != "/*" {
		return c.RoutePattern()
	}
	return "other"
}

// asData keeps a browser from running what an answer has: it can be the output of a job,
// and a link to it opens beside other pages of this server.
func asData(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox")
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
				h.Log.Error("request handler failed", "method", req.Method, "path", logPath(req), "panic", v)
				writeJSON(w, http.StatusInternalServerError, errorBody{Code: string(pai.CodeFailed), Message: serverFailed})
			}
		}()
		next.ServeHTTP(w, req)
	})
}
