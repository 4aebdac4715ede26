package rest

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/rest/apidoc"
)

// endpoint is one kind of request. There is no endpoint without a rule of package
// identity: verb and kind name it.
type endpoint struct {
	method, path string
	status       int // of a success
	verb         identity.Verb
	kind         identity.Kind
	// call returns the data of the answer: JSON, or YAML for []byte.
	call func(w http.ResponseWriter, req *http.Request) (any, error)
	about
}

// endpoints are the requests of paictl, below /api/v2. paictl of v0.10 and that of this
// release use the same. They take the parameters that they describe, and no others.
func (h *Handler) endpoints() []endpoint {
	const ok, accepted = http.StatusOK, http.StatusAccepted
	all := []endpoint{
		{http.MethodGet, "/info", ok, identity.Read, identity.Server, func(http.ResponseWriter, *http.Request) (any, error) { return h.info(), nil },
			about{summary: "Describe the server", answer: Info{}}},
		{http.MethodGet, "/openapi.json", ok, identity.Read, identity.Server, h.apiDocument,
			about{summary: "Describe the API, in OpenAPI 3.1", answer: apidoc.Document{}}},
		{http.MethodPost, "/jobs", accepted, identity.Create, identity.Job, h.submit,
			about{summary: "Submit a job", query: virtualClusterParameter(), body: []byte{}, answer: Submitted{}, headers: []string{"Location"}, failures: []int{http.StatusNotFound}}},
		{http.MethodPost, "/jobs" + dryRunPath, ok, identity.Create, identity.Job, h.preview,
			about{summary: "Check a job without creating it", query: virtualClusterParameter(), body: []byte{}, answer: Previewed{}, failures: []int{http.StatusNotFound}}},
		{http.MethodGet, "/jobs", ok, identity.List, identity.JobList, h.list,
			about{summary: "List the jobs that the caller can see, the oldest first", query: listParameters(), answer: []job.Status{}, headers: []string{incompleteHeader}, failures: []int{http.StatusNotFound}}},
		{http.MethodGet, "/jobs/{id}", ok, identity.Read, identity.Job, ofJob(h.Jobs.Get),
			about{summary: "Show a job with its tasks", answer: job.Status{}}},
		{http.MethodGet, "/jobs/{id}/config", ok, identity.Read, identity.Job, ofJob(h.Jobs.Protocol),
			about{summary: "Show the job file as it was submitted, without its secrets", answer: []byte{}}},
		{http.MethodGet, "/jobs/{id}/operations", ok, identity.Read, identity.Job, ofJob(h.Jobs.Operations),
			about{summary: "List the operations on the cluster during which a job ran", answer: []JobOperation{}}},
		{http.MethodPut, "/jobs/{id}/executionType", accepted, identity.Update, identity.Job, h.executionType,
			about{summary: "Stop a job", body: executionBody{}, required: []string{"value"}, answer: message{}}},
		{http.MethodGet, "/jobs/{id}/logs", ok, identity.Read, identity.Job, h.logs,
			about{summary: "Read the output of a task", query: outputParameters(), answer: plainText(""), headers: []string{missingHeader, attemptHeader}, failures: []int{http.StatusConflict}}},
		{http.MethodGet, "/virtual-clusters", ok, identity.List, identity.VirtualCluster, h.useOfVirtualClusters,
			about{summary: "List the virtual clusters with their use", answer: []VirtualClusterUse{}}},
		{http.MethodGet, "/virtual-clusters/{vc}", ok, identity.Read, identity.VirtualCluster, h.useOfVirtualCluster,
			about{summary: "Show the use and the queue of a virtual cluster", answer: VirtualClusterUse{}}},
		{http.MethodGet, "/operations", ok, identity.List, identity.Operation, h.listOperations,
			about{summary: "List the operations on the cluster, the newest first", answer: OperationList{}}},
		{http.MethodGet, "/operations/{operation}", ok, identity.Read, identity.Operation, h.getOperation,
			about{summary: "Show the report of an operation", answer: OperationSummary{}}},
	}
	for i, e := range all {
		all[i].call = taking(e.call, namesOf(e.query)...)
	}
	return all
}

// serve answers a request with what the endpoint's call returns, if the policy allows
// it; a call that returns nothing has answered.
func (h *Handler) serve(e endpoint, fail func(http.ResponseWriter, *http.Request, error)) http.Handler {
	answer := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		p, err := h.permitFor(req, e)
		if err != nil {
			fail(w, req, err)
			return
		}
		ctx, cancel := context.WithCancelCause(withPermit(req.Context(), p))
		defer cancel(nil)
		req = req.WithContext(ctx)
		if isOutput(req) {
			go endRevoked(ctx, cancel, p, func(ctx context.Context) (Caller, error) { return h.Users.Caller(ctx, p.token) })
		}
		data, err := e.call(w, req)
		if err != nil {
			fail(w, req, endedBy(ctx, err))
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
	})
	if h.Policy.Authorize(Caller{}, e.verb, identity.Object{Kind: e.kind}) == nil {
		return h.forEveryone(answer, e.kind, fail)
	}
	return h.authenticated(h.limited(answer, fail), fail)
}

func (h *Handler) authorize(req *http.Request, verb identity.Verb, o identity.Object) error {
	caller, _ := callerOf(req.Context()) // the zero caller is a guest
	return h.Policy.Authorize(caller, verb, o)
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

// incompleteHeader says why a list of jobs does not have all of them.
const incompleteHeader = "Pai-Incomplete"

func (h *Handler) list(w http.ResponseWriter, req *http.Request) (any, error) {
	q := req.URL.Query()
	f := Filter{User: q.Get("username"), VirtualCluster: q.Get("vc"),
		Incomplete: func(why string) { w.Header().Set(incompleteHeader, why) }}
	if state := q.Get("state"); state != "" {
		var err error
		if f.State, err = job.ParseState(state); err != nil {
			return nil, err
		}
	}
	for name, into := range map[string]*int{"offset": &f.Offset, "limit": &f.Limit} {
		if text := q.Get(name); text != "" {
			n, err := strconv.ParseUint(text, 10, 31)
			if err != nil || name == "limit" && n > recordedJobs {
				return nil, pai.Errorf(pai.CodeInvalid, "", "%s must be a whole number of at least 0, and a limit at most %d, not %q", name, recordedJobs, text)
			}
			*into = int(n)
		}
	}
	if f.User != "" && !userPattern.MatchString(f.User) {
		return nil, pai.Errorf(pai.CodeInvalid, "", "invalid user name %q", f.User)
	}
	jobs, err := h.Jobs.List(req.Context(), f)
	if err == nil && len(jobs) == 0 && f.User != "" {
		// Jobs of a user who was deleted stay on record.
		err = h.hasUser(req, f.User)
	}
	if err == nil && len(jobs) == 0 && f.VirtualCluster != "" {
		// Jobs of a virtual cluster that was deleted stay on record.
		err = h.hasVirtualCluster(req.Context(), f.VirtualCluster)
	}
	return jobs, err
}

// hasUser returns an error if a user does not exist and the caller can know that. Users that
// cannot be read now are no error: a list without jobs is right either way.
func (h *Handler) hasUser(req *http.Request, name string) error {
	a, err := h.accounts()
	if err != nil || h.authorize(req, identity.Read, identity.Object{Kind: identity.User, Name: name, Owner: name}) != nil {
		return nil
	}
	if _, err = a.Get(req.Context(), name); pai.CodeOf(err) == pai.CodeNotFound {
		return err
	}
	return nil
}

func (h *Handler) hasVirtualCluster(ctx context.Context, name string) error {
	all, err := h.Cluster.VirtualClusters(ctx)
	if err != nil {
		return err
	}
	if _, ok := all[name]; !ok {
		return pai.Errorf(pai.CodeNotFound, "", "virtual cluster %q not found; there are: %s", name, strings.Join(slices.Sorted(maps.Keys(all)), ", "))
	}
	return nil
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

type executionBody struct {
	Value string `json:"value" api:"executionType"`
}

func (h *Handler) executionType(_ http.ResponseWriter, req *http.Request) (any, error) {
	id, err := jobID(req)
	if err != nil {
		return nil, err
	}
	var body executionBody
	if err := json.NewDecoder(io.LimitReader(req.Body, 1024)).Decode(&body); err != nil {
		return nil, pai.Errorf(pai.CodeInvalid, `send {"value": "STOP"}`, "read the request: %w", err)
	}
	switch body.Value {
	case "STOP":
		return message{"job " + id.String() + " is being stopped"}, h.Jobs.Stop(req.Context(), id)
	case "START":
		return nil, pai.Errorf(pai.CodeRefused, "submit it again under another name", "a stopped job cannot be started again")
	default:
		return nil, pai.Errorf(pai.CodeInvalid, `send {"value": "STOP"}`, "unknown execution type %q", body.Value)
	}
}

func jobID(req *http.Request) (JobID, error) {
	text := chi.URLParam(req, "id")
	if text == "" { // an older path of OpenPAI
		text = chi.URLParam(req, "user") + "~" + chi.URLParam(req, "job")
	}
	id, err := ParseJobID(text)
	if err != nil && strings.HasPrefix(req.URL.Path, openPAIPrefix) {
		return id, &reason{"NoJobError", "Job " + text + " is not found.", pai.Errorf(pai.CodeNotFound, "", "%w", err)}
	}
	return id, err
}

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
		"attempt":    func(v string) (err error) { o.Attempt = new(int); *o.Attempt, err = strconv.Atoi(v); return },
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
	if o.Attempt != nil && *o.Attempt < 0 {
		return o, pai.Errorf(pai.CodeInvalid, "", "attempt=%d: want no negative number", *o.Attempt)
	}
	if o.Tail < 0 || o.Index < 0 {
		return o, pai.Errorf(pai.CodeInvalid, "", "tail=%d, index=%d: want no negative number", o.Tail, o.Index)
	}
	return o, nil
}
