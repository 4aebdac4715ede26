package rest

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/rest/openpai"
)

const (
	// outputPath is where a link leads to, below openPAIPrefix.
	outputPath = "/log-manager/output"
	// linkLife is how long a link is valid: browsers open it without a token.
	linkLife = 10 * time.Minute
	// tailBytes is how much output OpenPAI's page of a task shows.
	tailLines = 1000
)

// link is the right to read the output of one task for some minutes. It has no secret,
// and is of use for nothing else: proxies and browsers store addresses.
type link struct {
	Caller   string `json:"c"`
	Job      string `json:"j"`
	UID      string `json:"u"` // of the job: another one can have its name later
	Attempt  int    `json:"a"` // of the job
	TaskRole string `json:"r"`
	Index    int    `json:"i"`
	Tail     int64  `json:"t,omitempty"`
	Expires  int64  `json:"e"`
}

func (l link) signed(key []byte) string {
	text, err := json.Marshal(l)
	if err != nil {
		panic(err) // it has only strings and numbers
	}
	encoded := base64.RawURLEncoding.EncodeToString(text)
	return encoded + "." + base64.RawURLEncoding.EncodeToString(linkMAC(key, encoded))
}

func linkMAC(key []byte, encoded string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("output of a task\n" + encoded))
	return mac.Sum(nil)
}

// readLink returns a link that is signed with the key and has not expired.
func readLink(key []byte, text string, now time.Time) (link, error) {
	invalid := pai.Errorf(pai.CodeForbidden, "open the page of the job again", "the link is not valid or has expired")
	encoded, signature, _ := strings.Cut(text, ".")
	mac, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil || len(key) == 0 || !hmac.Equal(mac, linkMAC(key, encoded)) {
		return link{}, invalid
	}
	var l link
	data, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil || json.Unmarshal(data, &l) != nil || now.Unix() >= l.Expires {
		return link{}, invalid
	}
	return l, nil
}

// outputLocations are links to the output of a task.
type outputLocations struct {
	Locations []outputLocation `json:"locations"`
}

type outputLocation struct {
	Name string `json:"name"`
	URI  string `json:"uri"`
}

// taskLogs answers with links to the output of a task.
func (h *Handler) taskLogs(_ http.ResponseWriter, req *http.Request) (any, error) {
	s, err := h.attempt(req)
	if err != nil {
		return nil, err
	}
	caller, err := callerOf(req.Context())
	if err != nil {
		return nil, err
	}
	index, err := number(req, "index")
	if err != nil {
		return nil, err
	}
	attempt, err := number(req, "taskAttempt")
	if err != nil {
		return nil, err
	}
	role, t, found := openpai.FindTask(s, chi.URLParam(req, "role"), index)
	if !found || t.Retries != attempt || t.Pod == "" {
		return nil, &reason{"NoTaskLogError", "Log of task is not found.", taskNotFound(JobID{s.User, s.Name}, chi.URLParam(req, "role"), index)}
	}
	if err := h.hasOutput(req.Context(), s.UID, JobID{s.User, s.Name}, s.Retries); err != nil {
		return nil, err
	}
	key, err := h.linkKey(req.Context())
	if err != nil {
		return nil, err
	}
	l := link{Caller: caller.Name, Job: JobID{s.User, s.Name}.String(), UID: s.UID, Attempt: s.Retries, TaskRole: openpai.Roles(s)[role].Name, Index: index, Expires: time.Now().Add(linkLife).Unix()}
	q := req.URL.Query()
	if isTrue(q.Get("tail-mode")) || isTrue(q.Get("tailMode")) {
		l.Tail = tailLines
	}
	// The container runtime keeps one stream with both outputs.
	uri := openPAIPrefix + outputPath + "?link=" + url.QueryEscape(l.signed(key))
	return outputLocations{[]outputLocation{{"all", uri}, {"stdout", uri}}}, nil
}

// hasOutput returns an error unless an attempt is the newest one of a job in the cluster: only
// the output of its tasks can be read.
func (h *Handler) hasOutput(ctx context.Context, uid string, id JobID, attempt int) error {
	now, err := h.Cluster.Living(ctx, id)
	if err != nil && pai.CodeOf(err) != pai.CodeNotFound {
		return err
	}
	if err != nil || now.UID != uid || now.Retries != attempt {
		return &reason{"NoTaskLogError", "Log of task is not found.", pai.Errorf(pai.CodeNotFound, "read the output of the newest attempt; run: paictl job logs "+id.String(),
			"the output of attempt %d of job %s cannot be read any more", attempt, id)}
	}
	return nil
}

func isTrue(s string) bool {
	v, err := strconv.ParseBool(s)
	return err == nil && v
}

func (h *Handler) linkKey(ctx context.Context) ([]byte, error) {
	if h.LinkKey == nil {
		return nil, pai.Errorf(pai.CodeFailed, "", "this server makes no links")
	}
	return h.LinkKey(ctx)
}

// output answers a link with the output of a task. The user of the link must still have
// the right. Who opens it can be someone else, so it takes nothing of what the user has.
func (h *Handler) output(w http.ResponseWriter, req *http.Request) (any, error) {
	key, err := h.linkKey(req.Context())
	if err != nil {
		return nil, err
	}
	l, err := readLink(key, req.URL.Query().Get("link"), time.Now())
	if err != nil {
		return nil, err
	}
	id, err := ParseJobID(l.Job)
	if err != nil {
		return nil, err
	}
	a, err := h.accounts()
	if err != nil {
		return nil, err
	}
	caller, err := a.Caller(req.Context(), l.Caller)
	if err != nil {
		return nil, err
	}
	p := permit{name: caller.Name, allows: func(c Caller) error { return h.Policy.Authorize(c, identity.Read, objectOf(id)) }}
	if err := p.allows(caller); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(WithCaller(req.Context(), caller))
	defer cancel(nil)
	req = req.WithContext(ctx)
	done, err := h.callers.enterLink(caller.Name)
	if err != nil {
		return nil, err
	}
	defer done()
	if err := h.hasOutput(ctx, l.UID, id, l.Attempt); err != nil {
		return nil, err
	}
	go endRevoked(ctx, cancel, p, func(ctx context.Context) (Caller, error) { return a.Caller(ctx, l.Caller) })
	return nil, h.copyLogs(w, req, id, LogOptions{TaskRole: l.TaskRole, Index: l.Index, Tail: l.Tail})
}
