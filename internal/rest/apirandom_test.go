package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"
	"pgregory.net/rapid"

	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
)

// Random requests that the document describes, and some that it does not, have answers
// that it describes. None is a failure of the server.
func TestRandomRequestsHaveDescribedAnswers(t *testing.T) {
	t.Parallel()
	rapid.Check(t, describedAnswers(t))
}

func FuzzDescribedRequest(f *testing.F) {
	f.Fuzz(func(t *testing.T, input []byte) { rapid.MakeFuzz(describedAnswers(t))(t, input) })
}

func describedAnswers(t *testing.T) func(*rapid.T) {
	t.Helper()
	random := randomRequest{newAPICheck(t, document(t, describedHandler()))}
	return func(rt *rapid.T) {
		running := rapid.Bool().Draw(rt, "running job")
		requests := rapid.SliceOfN(rapid.Custom(random.draw), 1, 12).Draw(rt, "requests")
		var err error
		synctest.Test(t, func(t *testing.T) { err = describedAnswer(t, random.check, running, requests) })
		if err != nil {
			rt.Fatal(err)
		}
	}
}

// describedAnswer sends requests to a new server, and returns an error for an answer that is
// not described.
func describedAnswer(t *testing.T, check *apiCheck, running bool, requests []drawnRequest) error {
	t.Helper()
	m, h := newHandler(t, identity.Policy{}, "default", "research")
	h.Logins.all.SetLimit(rate.Inf)
	w := &whole{memory: m, handler: h, accounts: h.Logins.Accounts}
	tokens := map[string]string{"owner": w.withToken(t, w.accounts, "owner", false), "boss": w.withToken(t, w.accounts, "boss", true)}
	tokens["application"], _ = w.accounts.CreateApplicationToken(t.Context(), "boss")
	owner := Caller{Name: "owner", VirtualClusters: []string{"default"}}
	if _, err := h.Jobs.Submit(WithCaller(t.Context(), owner), Submission{Protocol: fmt.Appendf(nil, someJob, "train")}); err != nil {
		return err
	}
	if running {
		h.Jobs = &scripted{jobs: []job.Status{runningJob()}, logs: func(context.Context, LogOptions) (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader("a\n")), nil
		}}
	}
	handler := h.Routes()
	for _, r := range requests {
		req := httptest.NewRequestWithContext(t.Context(), r.Method, "/", strings.NewReader(r.Body))
		req.URL = &url.URL{Path: r.Path, RawQuery: r.Query}
		req.Header.Set("Content-Type", r.Media)
		switch r.Caller {
		case "":
		case "application by basic":
			req.SetBasicAuth("boss", tokens["application"])
		default:
			req.Header.Set("Authorization", "Bearer "+tokens[r.Caller])
		}
		got := &deadlines{httptest.NewRecorder()}
		handler.ServeHTTP(got, req)
		h.callers = callers{} // the rate is not what is tested
		if got.Code >= 500 && got.Header().Get(notStartedHeader) == "" {
			return fmt.Errorf("%+v: got %d %.500s", r, got.Code, got.Body)
		}
		if err := check.answer(req.Method, req.URL.Path, got.Code, got.Header(), got.Body.Bytes()); err != nil {
			return fmt.Errorf("%+v: %w", r, err)
		}
	}
	return nil
}

// runningJob has a value in most fields.
func runningJob() job.Status {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return job.Status{
		JobRef: pai.JobRef{User: "owner", Name: "train", VirtualCluster: "default"}, State: job.StateRunning, Message: "a task failed",
		Created: at, Started: at, Ended: at, Retries: 1, Priority: "prod", GPUs: 4, Tags: []string{"a"}, StopAsked: true, Namespace: "vc", Object: "x", UID: "u",
		TaskRoles: []job.TaskRoleStatus{{Name: "worker", Tasks: []job.TaskStatus{
			{Index: 0, State: job.StateRunning, Machine: "one", Pod: "p", Container: "c", Started: at, GPUs: 2, PodUID: "u", PodIP: "10.0.0.1", PodCreated: at},
			{Index: 1, State: job.StateFailed, Message: "exited", Ended: at, ExitCode: new(3), Retries: 2},
		}}},
	}
}

// randomRequest draws requests from the document.
type randomRequest struct{ check *apiCheck }

type drawnRequest struct{ Method, Path, Query, Media, Body, Caller string }

func (r randomRequest) draw(t *rapid.T) drawnRequest {
	path := rapid.SampledFrom(slices.Sorted(maps.Keys(r.check.at("paths")))).Draw(t, "path")
	method := rapid.SampledFrom(slices.Sorted(maps.Keys(r.check.at("paths", path)))).Draw(t, "method")
	operation := r.check.at("paths", path, method)
	query := url.Values{}
	parameters, _ := operation["parameters"].([]any)
	for _, p := range parameters {
		p := p.(map[string]any)
		name := p["name"].(string)
		switch {
		case p["in"] == "path":
			path = strings.ReplaceAll(path, "{"+name+"}", r.parameter(t, name, p["schema"]))
		case p["required"] == true || rapid.IntRange(0, 2).Draw(t, "has "+name) == 0:
			query.Set(name, r.parameter(t, name, p["schema"]))
		}
	}
	if rapid.IntRange(0, 9).Draw(t, "unknown parameter") == 0 {
		query.Set("nonsense", "1")
	}
	drawn := drawnRequest{Method: strings.ToUpper(method), Path: path, Query: query.Encode(),
		Caller: rapid.SampledFrom([]string{"", "owner", "boss", "boss", "application", "application by basic"}).Draw(t, "caller")}
	drawn.Body, drawn.Media = r.body(t, operation)
	return drawn
}

// parameter draws what exists, what the document allows, or anything.
func (r randomRequest) parameter(t *rapid.T, name string, schema any) string {
	exists := map[string]string{"id": "owner~train", "user": "owner", "username": "owner", "group": "adminGroup", "job": "train", "vc": "default", "virtualCluster": "default",
		"role": "worker", "taskRole": "worker", "attempt": "1", "index": "0", "taskAttempt": "0"}
	choice := rapid.IntRange(0, 9).Draw(t, "kind of "+name)
	switch known := exists[name]; {
	case choice == 0:
		return rapid.StringN(1, 20, -1).Draw(t, name)
	case choice < 6 && known != "":
		return known
	}
	value := r.value(t, name, schema.(map[string]any))
	if list, ok := value.([]any); ok {
		words := make([]string, len(list))
		for i, v := range list {
			words[i] = fmt.Sprint(v)
		}
		return strings.Join(words, ",")
	}
	return fmt.Sprint(value)
}

func (r randomRequest) body(t *rapid.T, operation map[string]any) (body, media string) {
	described, _ := operation["requestBody"].(map[string]any)
	content, _ := described["content"].(map[string]any)
	if content == nil || rapid.IntRange(0, 9).Draw(t, "other body") == 0 {
		return rapid.SampledFrom([]string{"", "{}", "null", "[]", `{"data":null}`, "\xff", "name: [", `{"value":1}`}).Draw(t, "body"), "application/json"
	}
	media = rapid.SampledFrom(slices.Sorted(maps.Keys(content))).Draw(t, "media type")
	schema := content[media].(map[string]any)["schema"].(map[string]any)
	switch media {
	case "text/yaml":
		return fmt.Sprintf(someJob, rapid.SampledFrom([]string{"train", "other", "Not valid!"}).Draw(t, "job")), media
	case "application/x-www-form-urlencoded":
		form := url.Values{}
		for key, v := range r.value(t, "form", schema).(map[string]any) {
			form.Set(key, fmt.Sprint(v))
		}
		return form.Encode(), media
	}
	text, err := json.Marshal(r.value(t, "body", schema))
	if err != nil {
		t.Fatal(err)
	}
	return string(text), media
}

// value draws a value that a schema allows.
func (r randomRequest) value(t *rapid.T, name string, schema map[string]any) any {
	if ref, ok := schema["$ref"].(string); ok {
		target := maps.Clone(r.check.at(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...))
		if required := schema["required"]; required != nil {
			target["required"] = required
		}
		return r.value(t, name, target)
	}
	if values, ok := schema["enum"].([]any); ok {
		return rapid.SampledFrom(values).Draw(t, name)
	}
	kind, _ := schema["type"].(string)
	switch kind {
	case "boolean":
		return rapid.Bool().Draw(t, name)
	case "integer":
		return rapid.Int64Range(whole64(schema["minimum"], 0), whole64(schema["maximum"], 100)).Draw(t, name)
	case "array":
		list := []any{}
		for range rapid.IntRange(0, 3).Draw(t, "length of "+name) {
			list = append(list, r.value(t, name, schema["items"].(map[string]any)))
		}
		return list
	case "object":
		object := map[string]any{}
		required, _ := schema["required"].([]any)
		properties, _ := schema["properties"].(map[string]any)
		for _, key := range slices.Sorted(maps.Keys(properties)) {
			if slices.Contains(required, any(key)) || rapid.Bool().Draw(t, "has "+key) {
				object[key] = r.value(t, key, properties[key].(map[string]any))
			}
		}
		return object
	case "string":
		if pattern, ok := schema["pattern"].(string); ok {
			return rapid.StringMatching(pattern).Draw(t, name)
		}
		if schema["format"] == "date-time" {
			return time.Unix(rapid.Int64Range(0, 4e9).Draw(t, name), 0).UTC().Format(time.RFC3339)
		}
		if schema["minLength"] != nil {
			return rapid.SampledFrom([]string{"default", "research", "train", "x", "Ä~%/"}).Draw(t, name)
		}
		return rapid.SampledFrom([]string{"owner", "boss", "default", "research", "adminGroup", "new-name", "secret-password", "", "60", "jobName,ASC", "Ä~%/", "a=b,c", rapid.String().Draw(t, "text")}).Draw(t, name)
	}
	return rapid.SampledFrom([]any{nil, "text", 1.5, true, []any{}, map[string]any{"admin": true, "virtualClusters": []any{"default"}}}).Draw(t, name)
}

func whole64(v any, otherwise int64) int64 {
	if n, ok := v.(json.Number); ok {
		otherwise, _ = n.Int64()
	}
	return otherwise
}
