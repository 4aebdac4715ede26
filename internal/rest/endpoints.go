package rest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
)

func (h *Handler) submit(w http.ResponseWriter, req *http.Request) {
	// One byte more than is accepted: the parser says what is wrong with that.
	text, err := io.ReadAll(io.LimitReader(req.Body, job.MaxSize+1))
	if err != nil {
		h.fail(w, req, pai.Errorf(pai.CodeInvalid, "", "read the job: %w", err))
		return
	}
	done, err := h.Jobs.Submit(req.Context(), Submission{Protocol: text, VirtualCluster: req.URL.Query().Get("virtualCluster")})
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
	jobs, err := h.Jobs.List(req.Context(), f)
	h.answer(w, req, jobs, err)
}

func (h *Handler) get(w http.ResponseWriter, req *http.Request) {
	id, err := jobID(req)
	if err != nil {
		h.fail(w, req, err)
		return
	}
	status, err := h.Jobs.Get(req.Context(), id)
	h.answer(w, req, status, err)
}

func (h *Handler) protocol(w http.ResponseWriter, req *http.Request) {
	id, err := jobID(req)
	if err != nil {
		h.fail(w, req, err)
		return
	}
	text, err := h.Jobs.Protocol(req.Context(), id)
	if err != nil {
		h.fail(w, req, err)
		return
	}
	w.Header().Set("Content-Type", "text/yaml; charset=utf-8")
	_, _ = w.Write(text) // the client is gone if this fails
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
	if err := h.Jobs.Stop(req.Context(), id); err != nil {
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
	stream, err := h.Jobs.Logs(ctx, id, o)
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
