package rest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
)

// Info is what the server says of itself to anybody.
type Info struct {
	Name     string `json:"name"`
	Release  string `json:"release"`
	API      string `json:"api"`
	Protocol int    `json:"protocol"`
}

// Handler serves a Service over HTTP.
type Handler struct {
	Service Service
	Users   Authenticator
	Release string
	Log     *slog.Logger
	// Draining reports that the server is about to end: it is not ready any more.
	Draining func() bool
	// Ended is closed when what is still followed has to end.
	Ended <-chan struct{}
}

// Authenticator knows callers by their tokens; *Users is one.
type Authenticator interface {
	Caller(ctx context.Context, token string) (Caller, error)
	Ready(ctx context.Context) error
}

// requestTimeout ends the handling of a request, except of followed logs.
const requestTimeout = time.Minute

// Routes is the handler of all requests.
func (h *Handler) Routes() http.Handler {
	r := chi.NewRouter()
	r.Use(h.logged, h.recovered)
	r.NotFound(func(w http.ResponseWriter, req *http.Request) {
		h.fail(w, req, pai.Errorf(pai.CodeNotFound, "", "there is nothing at %s", req.URL.Path))
	})
	r.MethodNotAllowed(func(w http.ResponseWriter, req *http.Request) {
		writeJSON(w, http.StatusMethodNotAllowed, errorBody{Code: string(pai.CodeUsage), Message: req.Method + " is not possible here"})
	})
	r.Get("/healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	r.Get("/readyz", h.readyz)
	r.Get("/api/v2/info", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, Info{Name: "PAI REST server", Release: h.Release, API: "v2", Protocol: 2})
	})
	r.Route("/api/v2/jobs", func(r chi.Router) {
		r.Use(h.authenticated)
		r.Post("/", h.submit)
		r.Get("/", h.list)
		r.Get("/{id}", h.get)
		r.Get("/{id}/config", h.protocol)
		r.Put("/{id}/executionType", h.executionType)
		r.Get("/{id}/logs", h.logs)
	})
	return r
}

func (h *Handler) readyz(w http.ResponseWriter, req *http.Request) {
	if h.Draining != nil && h.Draining() {
		http.Error(w, "ending", http.StatusServiceUnavailable)
		return
	}
	if err := h.Users.Ready(req.Context()); err != nil {
		http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	io.WriteString(w, "ok\n")
}

// authenticated lets only those through who hold a token.
func (h *Handler) authenticated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		scheme, token, ok := strings.Cut(req.Header.Get("Authorization"), " ")
		if !ok || !strings.EqualFold(scheme, "Bearer") || token == "" {
			h.fail(w, req, errUnauthorized)
			return
		}
		caller, err := h.Users.Caller(req.Context(), token)
		if err != nil {
			h.fail(w, req, err)
			return
		}
		next.ServeHTTP(w, req.WithContext(WithCaller(req.Context(), caller)))
	})
}

func (h *Handler) submit(w http.ResponseWriter, req *http.Request) {
	// One byte more than is accepted: the parser says what is wrong with that.
	text, err := io.ReadAll(io.LimitReader(req.Body, job.MaxSize+1))
	if err != nil {
		h.fail(w, req, pai.Errorf(pai.CodeInvalid, "", "read the job: %w", err))
		return
	}
	done, err := h.Service.Submit(req.Context(), Submission{Protocol: text, VirtualCluster: req.URL.Query().Get("virtualCluster")})
	if err != nil {
		h.fail(w, req, err)
		return
	}
	w.Header().Set("Location", "/api/v2/jobs/"+done.ID)
	writeJSON(w, http.StatusAccepted, done)
}

func (h *Handler) list(w http.ResponseWriter, req *http.Request) {
	q := req.URL.Query()
	f := Filter{User: q.Get("username"), VirtualCluster: q.Get("vc"), State: job.State(strings.ToUpper(q.Get("state")))}
	if f.User != "" && !userPattern.MatchString(f.User) {
		h.fail(w, req, pai.Errorf(pai.CodeInvalid, "", "%q cannot be a user's name", f.User))
		return
	}
	jobs, err := h.Service.List(req.Context(), f)
	h.answer(w, req, jobs, err)
}

func (h *Handler) get(w http.ResponseWriter, req *http.Request) {
	id, err := jobID(req)
	if err != nil {
		h.fail(w, req, err)
		return
	}
	status, err := h.Service.Get(req.Context(), id)
	h.answer(w, req, status, err)
}

func (h *Handler) protocol(w http.ResponseWriter, req *http.Request) {
	id, err := jobID(req)
	if err != nil {
		h.fail(w, req, err)
		return
	}
	text, err := h.Service.Protocol(req.Context(), id)
	if err != nil {
		h.fail(w, req, err)
		return
	}
	w.Header().Set("Content-Type", "text/yaml; charset=utf-8")
	w.Write(text)
}

func (h *Handler) executionType(w http.ResponseWriter, req *http.Request) {
	id, err := jobID(req)
	if err != nil {
		h.fail(w, req, err)
		return
	}
	var body struct {
		Value string `json:"value"`
	}
	if err := json.NewDecoder(io.LimitReader(req.Body, 1024)).Decode(&body); err != nil {
		h.fail(w, req, pai.Errorf(pai.CodeInvalid, `send {"value": "STOP"}`, "read the request: %w", err))
		return
	}
	switch body.Value {
	case "STOP":
	case "START":
		h.fail(w, req, pai.Errorf(pai.CodeRefused, "submit it again under another name", "a job that was stopped cannot be started again"))
		return
	default:
		h.fail(w, req, pai.Errorf(pai.CodeInvalid, `send {"value": "STOP"}`, "unknown execution type %q", body.Value))
		return
	}
	if err := h.Service.Stop(req.Context(), id); err != nil {
		h.fail(w, req, err)
		return
	}
	writeJSON(w, http.StatusAccepted, map[string]string{"message": "job " + id.String() + " is being stopped"})
}

func (h *Handler) logs(w http.ResponseWriter, req *http.Request) {
	id, err := jobID(req)
	if err != nil {
		h.fail(w, req, err)
		return
	}
	o, err := logOptions(req)
	if err != nil {
		h.fail(w, req, err)
		return
	}
	ctx, cancel := context.WithCancel(req.Context())
	defer cancel()
	go func() {
		select {
		case <-h.Ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	stream, err := h.Service.Logs(ctx, id, o)
	if err != nil {
		h.fail(w, req, err)
		return
	}
	defer stream.Close()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if err := copyFlushing(w, stream); err != nil && req.Context().Err() == nil {
		// The client must not take this for the end.
		panic(http.ErrAbortHandler)
	}
}

// copyFlushing passes on what there is as soon as it is there.
func copyFlushing(w http.ResponseWriter, r io.Reader) error {
	control := http.NewResponseController(w)
	// The server's own time limits are for requests that are answered at once.
	if err := errors.Join(control.SetReadDeadline(time.Time{}), control.SetWriteDeadline(time.Time{}), control.Flush()); err != nil {
		return err
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if err := control.SetWriteDeadline(time.Now().Add(requestTimeout)); err != nil {
				return err
			}
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
			if err := errors.Join(control.Flush(), control.SetWriteDeadline(time.Time{})); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func jobID(req *http.Request) (JobID, error) {
	return ParseJobID(chi.URLParam(req, "id"))
}

// ParseJobID reads user~name.
func ParseJobID(s string) (JobID, error) {
	user, name, ok := strings.Cut(s, "~")
	if !ok || !userPattern.MatchString(user) || name == "" {
		return JobID{}, pai.Errorf(pai.CodeInvalid, "", "a job is named user~name, not %q", s)
	}
	return JobID{user, name}, nil
}

func logOptions(req *http.Request) (LogOptions, error) {
	q := req.URL.Query()
	o := LogOptions{TaskRole: q.Get("taskRole")}
	bad := func(name string, err error) (LogOptions, error) {
		return o, pai.Errorf(pai.CodeInvalid, "", "%s=%s: %w", name, q.Get(name), err)
	}
	var err error
	if v := q.Get("index"); v != "" {
		if o.Index, err = strconv.Atoi(v); err != nil {
			return bad("index", err)
		}
	}
	if v := q.Get("tail"); v != "" {
		if o.Tail, err = strconv.ParseInt(v, 10, 64); err != nil {
			return bad("tail", err)
		}
	}
	for name, field := range map[string]*bool{"follow": &o.Follow, "timestamps": &o.Timestamps} {
		if v := q.Get(name); v != "" {
			if *field, err = strconv.ParseBool(v); err != nil {
				return bad(name, err)
			}
		}
	}
	if v := q.Get("since"); v != "" {
		if o.Since, err = time.Parse(time.RFC3339Nano, v); err != nil {
			return bad("since", err)
		}
	}
	return o, nil
}

func (h *Handler) answer(w http.ResponseWriter, req *http.Request, data any, err error) {
	if err != nil {
		h.fail(w, req, err)
		return
	}
	writeJSON(w, http.StatusOK, data)
}

func (h *Handler) fail(w http.ResponseWriter, req *http.Request, err error) {
	status := statusOf(err)
	switch {
	case errors.Is(err, context.Canceled) && req.Context().Err() != nil:
		return // nobody is there to hear it
	case status >= 500:
		h.Log.Error("request failed", "method", req.Method, "path", req.URL.Path, "error", err)
	}
	switch status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "2")
	}
	writeJSON(w, status, bodyOf(err))
}

func writeJSON(w http.ResponseWriter, status int, data any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	// An error here is a client that went away.
	_ = enc.Encode(data)
}

// logged writes one line per request, without query, headers or body.
func (h *Handler) logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		start := time.Now()
		ww := middleware.NewWrapResponseWriter(w, req.ProtoMajor)
		next.ServeHTTP(ww, req)
		level := slog.LevelInfo
		if req.URL.Path == "/healthz" || req.URL.Path == "/readyz" {
			level = slog.LevelDebug
		}
		h.Log.Log(req.Context(), level, "request", "method", req.Method, "path", req.URL.Path,
			"status", ww.Status(), "bytes", ww.BytesWritten(), "seconds", time.Since(start).Seconds())
	})
}

// recovered turns a bug into an answer without its stack trace.
func (h *Handler) recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		defer func() {
			switch v := recover(); v {
			case nil:
			case http.ErrAbortHandler:
				panic(v)
			default:
				h.Log.Error("request handler failed", "method", req.Method, "path", req.URL.Path, "panic", v)
				writeJSON(w, http.StatusInternalServerError, errorBody{Code: string(pai.CodeFailed), Message: "the server failed; its log says how"})
			}
		}()
		next.ServeHTTP(w, req)
	})
}
