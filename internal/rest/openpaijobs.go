package rest

import (
	"io"
	"net/http"

	"github.com/go-chi/chi/v5"

	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/rest/openpai"
)

// openPAISubmitted is an accepted job; OpenPAI does not have the warnings.
type openPAISubmitted struct {
	Status   int           `json:"status"`
	Message  string        `json:"message"`
	Warnings []job.Problem `json:"warnings,omitempty"`
}

func (h *Handler) openPAISubmit(w http.ResponseWriter, req *http.Request) (any, error) {
	done, err := h.submit(w, req)
	if err != nil {
		return nil, err
	}
	submitted := done.(Submitted)
	w.Header().Set("Location", openPAIPrefix+"/api/v2/jobs/"+submitted.ID)
	return openPAISubmitted{http.StatusAccepted, "Update job " + submitted.ID + " successfully.", submitted.Warnings}, nil
}

func (h *Handler) openPAIList(w http.ResponseWriter, req *http.Request) (any, error) {
	q, err := openpai.ParseQuery(req.URL.Query())
	if err != nil {
		return nil, invalidParameters("%w", err)
	}
	p, err := h.Cluster.Page(req.Context(), q.Query)
	if err != nil {
		return nil, err
	}
	if p.Incomplete != "" {
		w.Header().Set(incompleteHeader, p.Incomplete)
	}
	return q.Answer(p.Jobs, p.Total, p.Incomplete != ""), nil
}

func (h *Handler) openPAIDetail(_ http.ResponseWriter, req *http.Request) (any, error) {
	id, err := jobID(req)
	if err != nil {
		return nil, err
	}
	s, err := h.Jobs.Get(req.Context(), id)
	return openpai.Detail(s), err
}

func (h *Handler) attempt(req *http.Request) (job.Status, error) {
	id, err := jobID(req)
	if err != nil {
		return job.Status{}, err
	}
	n, err := number(req, "attempt")
	if err != nil {
		return job.Status{}, err
	}
	return h.history().Attempt(req.Context(), id, n)
}

func (h *Handler) history() History {
	if h.History != nil {
		return h.History
	}
	return newestOnly{h.Jobs}
}

func (h *Handler) openPAIAttempt(_ http.ResponseWriter, req *http.Request) (any, error) {
	s, err := h.attempt(req)
	return openpai.Detail(s), err
}

func (h *Handler) jobAttempts(w http.ResponseWriter, req *http.Request) (any, error) {
	id, err := jobID(req)
	if err != nil {
		return nil, err
	}
	known, incomplete, err := h.history().Attempts(req.Context(), id)
	if err != nil {
		return nil, err
	}
	if incomplete != "" {
		w.Header().Set(incompleteHeader, incomplete)
	}
	attempts := []openpai.JobAttempt{}
	for i, s := range known {
		attempts = append(attempts, openpai.Attempt(s, i == 0))
	}
	return attempts, nil
}

func (h *Handler) jobAttempt(_ http.ResponseWriter, req *http.Request) (any, error) {
	s, err := h.attempt(req)
	if err != nil {
		return nil, err
	}
	newest, err := h.Jobs.Get(req.Context(), JobID{s.User, s.Name})
	return openpai.Attempt(s, newest.Retries == s.Retries), err
}

// attemptsHealthy answers as OpenPAI does, whatever the job is.
func attemptsHealthy(w http.ResponseWriter, _ *http.Request) (any, error) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, "ok") // an error means that the client disconnected
	return nil, nil
}

func (h *Handler) taskAttempts(_ http.ResponseWriter, req *http.Request) (any, error) {
	s, err := h.attempt(req)
	if err != nil {
		return nil, err
	}
	index, err := number(req, "index")
	if err != nil {
		return nil, err
	}
	t, found := openpai.TaskAttempts(s, chi.URLParam(req, "role"), index)
	if !found {
		return nil, noTask(s, chi.URLParam(req, "role"), index)
	}
	return t, nil
}

func noTask(s job.Status, role string, index int) error {
	return &reason{"NoTaskError", "Task is not found.", taskNotFound(JobID{s.User, s.Name}, role, index)}
}

func (h *Handler) openPAIExecutionType(w http.ResponseWriter, req *http.Request) (any, error) {
	id, err := jobID(req)
	if err != nil {
		return nil, err
	}
	var body executionBody
	if err := readJSON(req, &body); err != nil {
		return nil, err
	}
	switch body.Value {
	case "STOP":
		// A job that has ended is stopped: clients stop without asking first.
		if err = h.Jobs.Stop(req.Context(), id); pai.CodeOf(err) == pai.CodeRefused {
			err = nil
		}
	case "START": // as in OpenPAI, without effect on a job that has ended
		_, err = h.Jobs.Get(req.Context(), id)
	default:
		err = invalidParameters("unknown execution type %q, want START or STOP", body.Value)
	}
	return message{"Execute job " + id.String() + " successfully."}, err
}

type tagBody struct {
	Value string `json:"value" api:"tag"`
}

func (h *Handler) tag(req *http.Request) (id JobID, tag string, err error) {
	if h.Cluster == nil {
		return id, "", pai.Errorf(pai.CodeFailed, "", "this server has no cluster")
	}
	if id, err = jobID(req); err != nil {
		return id, "", err
	}
	var body tagBody
	err = readJSON(req, &body)
	return id, body.Value, err
}

func (h *Handler) addTag(_ http.ResponseWriter, req *http.Request) (any, error) {
	id, tag, err := h.tag(req)
	if err != nil {
		return nil, err
	}
	return message{"Add tag for job " + id.String() + " successfully."}, h.Cluster.AddTag(req.Context(), id, tag)
}

func (h *Handler) removeTag(_ http.ResponseWriter, req *http.Request) (any, error) {
	id, tag, err := h.tag(req)
	if err != nil {
		return nil, err
	}
	return message{"Delete tag from job " + id.String() + " successfully."}, h.Cluster.RemoveTag(req.Context(), id, tag)
}

func (h *Handler) events(_ http.ResponseWriter, req *http.Request) (any, error) {
	id, err := jobID(req)
	if err != nil {
		return nil, err
	}
	kind := req.URL.Query().Get("type")
	if kind != "" && kind != "Normal" && kind != "Warning" {
		return nil, invalidParameters("unknown type %q of events, want Normal or Warning", kind)
	}
	all, err := h.Cluster.Events(req.Context(), id)
	if err != nil {
		return nil, err
	}
	events := []openpai.Event{}
	for _, e := range all {
		if kind == "" || e.Type == kind {
			events = append(events, e)
		}
	}
	return openpai.EventsWithCount{TotalCount: len(events), Data: events}, nil
}

// noSSH is what OpenPAI 1.x answers always; the portal knows this code only.
func noSSH(_ http.ResponseWriter, req *http.Request) (any, error) {
	id, err := jobID(req)
	if err != nil {
		return nil, err
	}
	return nil, &reason{"NoJobSshInfoError", "SSH info of job " + id.String() + " is not found.",
		pai.Errorf(pai.CodeNotFound, "", "job %s has no SSH address", id)}
}

// jobExists is an operation of OpenPAI 0.x. The extension of Visual Studio Code asks it
// whether a name is free: that of a job that left the cluster is.
func (h *Handler) jobExists(_ http.ResponseWriter, req *http.Request) (any, error) {
	id, err := jobID(req)
	if err != nil {
		return nil, err
	}
	s, err := h.Cluster.Living(req.Context(), id)
	return openpai.Detail(s), err
}
