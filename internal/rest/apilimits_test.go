package rest

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/time/rate"

	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/rest/apidoc"
)

// limitsOf returns values that a schema just allows, and values that it does not.
func limitsOf(s *apidoc.Schema) (allowed, refused []string) {
	switch {
	case s.Enum != nil:
		for _, v := range s.Enum {
			allowed = append(allowed, fmt.Sprint(v))
		}
		return allowed, []string{"other"}
	case s.Pattern != "":
		return []string{"owner"}, []string{"-", "a b"}
	case s.Format == "date-time":
		return []string{"2026-01-02T03:04:05Z"}, []string{"yesterday", "2026-01-02"}
	case s.Type == "boolean":
		return []string{"false"}, []string{"perhaps"}
	case s.Type == "integer":
		above := fmt.Sprint(uint64(*s.Maximum) + 1)
		return []string{fmt.Sprint(*s.Minimum), fmt.Sprint(*s.Maximum)}, []string{fmt.Sprint(*s.Minimum - 1), above, "1.5", "many"}
	}
	return nil, nil
}

// The server refuses what the limits of parameters forbid, and nothing else.
func TestAPIDocumentHasLimitsOfParameters(t *testing.T) {
	t.Parallel()
	w := newWhole(t, identity.Policy{}, "default", "research")
	w.handler.Logins.all.SetLimit(rate.Inf)
	boss := w.withToken(t, w.accounts, "boss", true)
	if status, text := w.ask(t, http.MethodPost, "/api/v2/jobs", boss, fmt.Sprintf(someJob, "train")); status != http.StatusAccepted {
		t.Fatalf("%d %s", status, text)
	}
	asked := 0
	for prefix, endpoints := range map[string][]endpoint{"/api/v2": w.handler.endpoints(), openPAIPrefix: w.handler.openPAIEndpoints()} {
		for _, e := range endpoints {
			ask := func(p apidoc.Parameter, value string, allowed bool) {
				path, body := w.request(t, e)
				path = strings.ReplaceAll(path, "owner~train", "boss~train")
				query := url.Values{}
				if p.In == "query" {
					query.Set(p.Name, value)
				} else {
					path = strings.Replace(e.path, "{"+p.Name+"}", url.PathEscape(value), 1)
					path = strings.NewReplacer("{id}", "boss~train", "{attempt}", "0", "{role}", "worker", "{index}", "0", "{taskAttempt}", "0").Replace(path)
				}
				status, text := w.ask(t, e.method, prefix+path+"?"+query.Encode(), boss, body)
				if refused := status == http.StatusBadRequest; refused == allowed {
					t.Errorf("%s %s%s with %s=%s: got %d %.300s, want allowed %t", e.method, prefix, e.path, p.Name, value, status, text, allowed)
				}
				w.handler.callers = callers{} // the rate is not what is tested
				asked++
			}
			for _, p := range parametersOf(e) {
				if p.In == "path" && p.Schema.Type != "integer" {
					continue // another name does not exist
				}
				allowed, refused := limitsOf(p.Schema)
				for _, value := range allowed {
					ask(p, value, true)
				}
				if prefix == openPAIPrefix && p.Schema.Type == "boolean" {
					continue // as OpenPAI does
				}
				for _, value := range refused {
					ask(p, value, false)
				}
			}
		}
	}
	if asked < 100 {
		t.Errorf("%d requests were sent", asked)
	}
}
