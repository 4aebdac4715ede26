package rest

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/time/rate"

	"pai.dev/pai/internal/identity"
)

// TestParametersAreUnderstoodOrRefused asks each endpoint of paictl with parameters that it
// does not take.
func TestParametersAreUnderstoodOrRefused(t *testing.T) {
	w := newWhole(t, identity.Policy{}, "default", "research")
	w.handler.Logins.all.SetLimit(rate.Inf)
	token := roles(t, w)["owner"]
	if status, text := w.ask(t, http.MethodPost, "/api/v2/jobs", token, fmt.Sprintf(someJob, "train")); status != http.StatusAccepted {
		t.Fatalf("%d %s", status, text)
	}
	all := append(w.handler.endpoints(), endpoint{method: http.MethodPost, path: "/jobs/"}, endpoint{method: http.MethodGet, path: "/jobs/"})
	for _, e := range all {
		path, body := w.request(t, e)
		for query, want := range map[string]string{
			"?nonsense=1&user=ada": "unknown parameter nonsense, unknown parameter user; this request takes ",
			"?a;b":                 "read the query",
		} {
			status, text := w.ask(t, e.method, "/api/v2"+path+query, token, body)
			if status == http.StatusForbidden && e.kind == identity.Operation {
				continue
			}
			if status != http.StatusBadRequest || !strings.Contains(text, want) {
				t.Errorf("%s %s%s: got %d %.300s, want 400 and %q", e.method, path, query, status, text, want)
			}
		}
		w.handler.callers = callers{} // the rate is not what is tested
	}
}

func TestFiltersOfJobsAreUnderstoodOrRefused(t *testing.T) {
	w := newWhole(t, identity.Policy{}, "default", "research")
	w.handler.Logins.all.SetLimit(rate.Inf)
	token := roles(t, w)["owner"]
	for query, want := range map[string]struct {
		status int
		text   string
	}{
		"state=running":         {http.StatusOK, "[]"},
		"state=rnning":          {http.StatusBadRequest, `unknown state \"rnning\" of a job, want one of WAITING, RUNNING`},
		"vc=default":            {http.StatusOK, "[]"},
		"vc=nowhere":            {http.StatusNotFound, `virtual cluster \"nowhere\" not found; there are: default, research`},
		"vc=default&vc=another": {http.StatusBadRequest, "parameter vc more than once; this request takes username, vc, state, offset, limit"},
	} {
		if status, text := w.ask(t, http.MethodGet, "/api/v2/jobs?"+query, token, ""); status != want.status || !strings.Contains(text, want.text) {
			t.Errorf("%s: got %d %s, want %d and %s", query, status, text, want.status, want.text)
		}
	}
}

func TestSelectorsOfPodsAreUnderstoodOrRefused(t *testing.T) {
	t.Parallel()
	w := newWhole(t, identity.Policy{}, "default")
	boss := w.withToken(t, w.accounts, "boss", true)
	for selector, want := range map[string]int{"a=b,c": http.StatusOK, "": http.StatusOK, "a,": http.StatusBadRequest, "a b": http.StatusBadRequest} {
		if status, text := w.ask(t, http.MethodGet, openPAIPrefix+"/api/v2/kubernetes/pods?labelSelector="+url.QueryEscape(selector), boss, ""); status != want {
			t.Errorf("%q: got %d %s, want %d", selector, status, text, want)
		}
	}
}
