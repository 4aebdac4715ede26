package rest

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
)

// endpoint is one kind of request to the jobs of authenticated users.
type endpoint struct {
	method, path string // path below /api/v2/jobs
	status       int    // of a success
	// call returns the data of the answer: JSON, or YAML for []byte.
	call func(w http.ResponseWriter, req *http.Request) (any, error)
}

func (h *Handler) endpoints() []endpoint {
	return []endpoint{
		{http.MethodPost, "/", http.StatusAccepted, h.submit},
		{http.MethodPost, dryRunPath, http.StatusOK, h.preview},
		{http.MethodGet, "/", http.StatusOK, h.list},
		{http.MethodGet, "/{id}", http.StatusOK, ofJob(h.Jobs.Get)},
		{http.MethodGet, "/{id}/config", http.StatusOK, ofJob(h.Jobs.Protocol)},
		{http.MethodGet, "/{id}/operations", http.StatusOK, ofJob(h.Jobs.Operations)},
		{http.MethodPut, "/{id}/executionType", http.StatusAccepted, h.executionType},
		{http.MethodGet, "/{id}/logs", http.StatusOK, h.logs},
	}
}

// serve answers a request with what the endpoint's call returns; a call that
// returns nothing has answered.
func (h *Handler) serve(e endpoint) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		data, err := e.call(w, req)
		if err != nil {
			h.fail(w, req, err)
			return
		}
		switch data := data.(type) {
		case nil:
		case []byte:
			w.Header().Set("Content-Type", "text/yaml; charset=utf-8")
			_, _ = w.Write(data) // an error means that the client disconnected
		default:
			writeJSON(w, e.status, data)
		}
	}
}

// dryRunPath is no parameter of a submission: a server of v0.10 would ignore it and
// create the job.
const dryRunPath = "/dry-run"

func (h *Handler) submit(w http.ResponseWriter, req *http.Request) (any, error) {
	s, err := submission(req)
	if err != nil {
		return nil, err
	}
	done, err := h.Jobs.Submit(req.Context(), s)
	if err == nil {
		w.Header().Set("Location", "/api/v2/jobs/"+done.ID)
	}
	return done, err
}

func (h *Handler) preview(_ http.ResponseWriter, req *http.Request) (any, error) {
	s, err := submission(req)
	if err != nil {
		return nil, err
	}
	return h.Jobs.Preview(req.Context(), s)
}

func submission(req *http.Request) (Submission, error) {
	// One byte more than the limit: the parser reports that it is exceeded.
	text, err := io.ReadAll(io.LimitReader(req.Body, job.MaxSize+1))
	if err != nil {
		return Submission{}, pai.Errorf(pai.CodeInvalid, "", "read the job: %w", err)
	}
	return Submission{Protocol: text, VirtualCluster: req.URL.Query().Get("virtualCluster")}, nil
}

func (h *Handler) list(_ http.ResponseWriter, req *http.Request) (any, error) {
	q := req.URL.Query()
	f := Filter{User: q.Get("username"), VirtualCluster: q.Get("vc"), State: job.State(strings.ToUpper(q.Get("state")))}
	if f.User != "" && !userPattern.MatchString(f.User) {
		return nil, pai.Errorf(pai.CodeInvalid, "", "invalid user name %q", f.User)
	}
	return h.Jobs.List(req.Context(), f)
}

// ofJob is an endpoint that only reads the job in the path.
func ofJob[T any](read func(context.Context, JobID) (T, error)) func(http.ResponseWriter, *http.Request) (any, error) {
	return func(_ http.ResponseWriter, req *http.Request) (any, error) {
		id, err := jobID(req)
		if err != nil {
			return nil, err
		}
		return read(req.Context(), id)
	}
}

func (h *Handler) executionType(_ http.ResponseWriter, req *http.Request) (any, error) {
	id, err := jobID(req)
	if err != nil {
		return nil, err
	}
	var body struct {
		Value string `json:"value"`
	}
	if err := json.NewDecoder(io.LimitReader(req.Body, 1024)).Decode(&body); err != nil {
		return nil, pai.Errorf(pai.CodeInvalid, `send {"value": "STOP"}`, "read the request: %w", err)
	}
	switch body.Value {
	case "STOP":
		return map[string]string{"message": "job " + id.String() + " is being stopped"}, h.Jobs.Stop(req.Context(), id)
	case "START":
		return nil, pai.Errorf(pai.CodeRefused, "submit it again under another name", "a stopped job cannot be started again")
	default:
		return nil, pai.Errorf(pai.CodeInvalid, `send {"value": "STOP"}`, "unknown execution type %q", body.Value)
	}
}

func jobID(req *http.Request) (JobID, error) { return ParseJobID(chi.URLParam(req, "id")) }

// ParseJobID reads user~name.
func ParseJobID(s string) (JobID, error) {
	user, name, ok := strings.Cut(s, "~")
	if !ok || !userPattern.MatchString(user) || name == "" {
		return JobID{}, pai.Errorf(pai.CodeInvalid, "", "invalid job ID %q, want user~name", s)
	}
	return JobID{user, name}, nil
}

func logOptions(req *http.Request) (LogOptions, error) {
	q := req.URL.Query()
	o := LogOptions{TaskRole: q.Get("taskRole")}
	for name, parse := range map[string]func(v string) error{
		"index":      func(v string) (err error) { o.Index, err = strconv.Atoi(v); return },
		"tail":       func(v string) (err error) { o.Tail, err = strconv.ParseInt(v, 10, 64); return },
		"follow":     func(v string) (err error) { o.Follow, err = strconv.ParseBool(v); return },
		"timestamps": func(v string) (err error) { o.Timestamps, err = strconv.ParseBool(v); return },
		"since":      func(v string) (err error) { o.Since, err = time.Parse(time.RFC3339Nano, v); return },
	} {
		if v := q.Get(name); v != "" {
			if err := parse(v); err != nil {
				return o, pai.Errorf(pai.CodeInvalid, "", "%s=%s: %w", name, v, err)
			}
		}
	}
	return o, nil
}
