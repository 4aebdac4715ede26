package rest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/go-chi/chi/v5"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/pai"
)

// OperationAPI reads what operations on the cluster publish. Core implements it.
type OperationAPI interface {
	// Reports returns the published reports, the newest first.
	Reports(ctx context.Context) ([]pai.PublishedReport, error)
	// Progress returns the progress that was published last; nil if none was.
	Progress(ctx context.Context) (*pai.PublishedProgress, error)
}

var _ OperationAPI = (*Core)(nil)

// Reports implements OperationAPI.
func (c *Core) Reports(ctx context.Context) ([]pai.PublishedReport, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	reports, err := reading(ctx, func(ctx context.Context) ([]pai.PublishedReport, error) {
		reports, _, err := c.reports(ctx)
		return reports, err
	})
	slices.SortFunc(reports, func(a, b pai.PublishedReport) int { return cmp.Compare(b.ID, a.ID) })
	return reports, err
}

// Progress implements OperationAPI.
func (c *Core) Progress(ctx context.Context) (*pai.PublishedProgress, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return reading(ctx, func(ctx context.Context) (*pai.PublishedProgress, error) {
		cm, err := c.cluster.Clientset().CoreV1().ConfigMaps(pai.SystemNamespace).Get(ctx, pai.ProgressName, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		if err != nil {
			return nil, apiError("read the progress of the operation", err)
		}
		var p pai.PublishedProgress
		if err := json.Unmarshal([]byte(cm.Data[pai.ProgressKey]), &p); err != nil {
			return nil, fmt.Errorf("read the progress in ConfigMap %s/%s: %w", cm.Namespace, cm.Name, err)
		}
		return &p, nil
	})
}

// OperationSummary is an operation as users see it: its figures are those of all jobs, and
// its lines are those of the jobs that the caller can read.
type OperationSummary struct {
	ID      string      `json:"id"`
	Verb    pai.Verb    `json:"verb"`
	From    pai.Pair    `json:"from"`
	To      pai.Pair    `json:"to"`
	Outcome pai.Outcome `json:"outcome"`
	Started time.Time   `json:"started"`
	Ended   time.Time   `json:"ended,omitzero"`

	Counts            pai.ProgressJobs `json:"counts"`
	API               pai.APIReport    `json:"api"`
	SubmissionSeconds float64          `json:"submissionOutageSeconds"`
	AdmissionSeconds  float64          `json:"admissionOutageSeconds"`
	UnobservedSeconds float64          `json:"unobservedSeconds"`
	// VisibleJobs is how many lines the caller can read, Jobs has them.
	VisibleJobs int            `json:"visibleJobs"`
	Jobs        []JobOperation `json:"jobs,omitempty"`
	// Restored are the jobs whose records a rollback or a restore changed, of those that
	// the caller can read; nil if it restored nothing.
	Restored *pai.PublishedRestore `json:"restored,omitempty"`
	Omitted  map[string]int        `json:"omitted,omitempty"`
}

// OperationList is the operations of a cluster.
type OperationList struct {
	// Current is the progress of an operation that did not publish its outcome; nil if
	// there is none.
	Current    *pai.PublishedProgress `json:"current"`
	Operations []OperationSummary     `json:"operations"`
}

func (h *Handler) operationAPI() (OperationAPI, error) {
	if h.Operations == nil {
		return nil, pai.Errorf(pai.CodeFailed, "", "this server has no operations")
	}
	return h.Operations, nil
}

// canRead reports whether the caller of a request can read a job, given as user~name.
func (h *Handler) canRead(req *http.Request) func(name string) bool {
	return func(name string) bool {
		id, err := ParseJobID(name)
		return err == nil && h.authorize(req, identity.Read, objectOf(id)) == nil
	}
}

func (h *Handler) listOperations(_ http.ResponseWriter, req *http.Request) (any, error) {
	api, err := h.operationAPI()
	if err != nil {
		return nil, err
	}
	reports, err := api.Reports(req.Context())
	if err != nil {
		return nil, err
	}
	progress, err := api.Progress(req.Context())
	if err != nil {
		return nil, err
	}
	list := OperationList{Operations: []OperationSummary{}, Current: current(progress, reports, h.canRead(req))}
	for _, r := range reports {
		s := summaryOf(r, h.canRead(req))
		s.Jobs, s.Restored = nil, nil
		list.Operations = append(list.Operations, s)
	}
	return list, nil
}

func (h *Handler) getOperation(_ http.ResponseWriter, req *http.Request) (any, error) {
	api, err := h.operationAPI()
	if err != nil {
		return nil, err
	}
	reports, err := api.Reports(req.Context())
	if err != nil {
		return nil, err
	}
	id := chi.URLParam(req, "operation")
	i := slices.IndexFunc(reports, func(r pai.PublishedReport) bool { return r.ID == id })
	if i < 0 {
		return nil, pai.Errorf(pai.CodeNotFound, "list the operations", "operation %q has no published report", id)
	}
	return summaryOf(reports[i], h.canRead(req)), nil
}

// summaryOf returns what a caller sees of a report.
func summaryOf(r pai.PublishedReport, canRead func(job string) bool) OperationSummary {
	s := OperationSummary{ID: r.ID, Verb: r.Verb, From: r.From, To: r.To, Outcome: r.Outcome, Started: r.Started, Ended: r.Ended,
		API: r.API, SubmissionSeconds: r.SubmissionSeconds, AdmissionSeconds: r.AdmissionSeconds, UnobservedSeconds: r.UnobservedSeconds, Omitted: r.Omitted}
	s.Counts = pai.ProgressJobs{Before: r.Jobs.Before, Running: r.Jobs.After, Finished: r.Jobs.Finished}
	s.Counts.Failed, s.Counts.Interrupted, s.Counts.Unknown = r.Jobs.Ended()
	for _, l := range r.PerJob {
		if canRead(l.Job) {
			s.Jobs = append(s.Jobs, jobOperation(r, l))
		}
	}
	s.VisibleJobs = len(s.Jobs)
	if r.Restored != nil {
		s.Restored = &pai.PublishedRestore{Taken: r.Restored.Taken, Jobs: []pai.RestoredJob{}}
		for _, j := range r.Restored.Jobs {
			if canRead(j.Job) {
				s.Restored.Jobs = append(s.Restored.Jobs, j)
			}
		}
	}
	return s
}

// current returns what a caller sees of the progress; nil if the operation has ended. One
// that ended while the API was unavailable has only its report.
func current(p *pai.PublishedProgress, reports []pai.PublishedReport, canRead func(job string) bool) *pai.PublishedProgress {
	if p == nil || p.Outcome != pai.OutcomeRunning || slices.ContainsFunc(reports, func(r pai.PublishedReport) bool { return r.ID >= p.ID }) {
		return nil
	}
	shown := *p
	shown.Waiting = []pai.Waiting{}
	for _, w := range p.Waiting {
		all := w.Jobs
		w.Jobs = []pai.JobRef{}
		for _, j := range all {
			if canRead(j.String()) {
				w.Jobs = append(w.Jobs, j)
			}
		}
		if len(w.Jobs) < len(all) {
			w.Reason = "" // it names jobs
		}
		shown.Waiting = append(shown.Waiting, w)
	}
	return &shown
}
