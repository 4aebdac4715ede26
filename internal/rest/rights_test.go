package rest

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/time/rate"

	"pai.dev/pai/internal/identity"
)

const someJob = `protocolVersion: 2
name: %s
type: job
prerequisites:
  - {name: image, type: dockerimage, uri: pai.local/example:v0.10}
taskRoles:
  worker:
    dockerImage: image
    resourcePerInstance: {cpu: 1, memoryMB: 64, gpu: 0}
    commands: [echo hello]
`

// roles are the callers of the table of rights.
func roles(t *testing.T, w *whole) map[string]string {
	t.Helper()
	application := func(name string) string {
		token, err := w.accounts.CreateApplicationToken(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	tokens := map[string]string{
		"guest": "", "unknown token": "pai_unknown",
		"owner": w.user(t, "owner", false), "other": w.user(t, "other", false),
		"member": w.user(t, "member", false, "research"), "admin": w.user(t, "boss", true),
	}
	tokens["owner's application"] = application("owner")
	tokens["admin's application"] = application("boss")
	return tokens
}

// allowedRoles are the roles that a rule allows, for an object of user "owner" or in
// virtual cluster "research". It is written apart from identity.Policy.
func allowedRoles(who identity.Who) []string {
	all := []string{"owner", "other", "member", "admin", "owner's application", "admin's application"}
	switch who {
	case identity.Anyone:
		return append(all, "guest", "unknown token")
	case identity.AnyToken:
		return all
	case identity.UserToken:
		return []string{"owner", "other", "member", "admin"}
	case identity.OwnerToken:
		return []string{"owner"}
	case identity.OwnerOrAdmin, identity.Visible:
		return []string{"owner", "owner's application", "admin", "admin's application"}
	case identity.Member:
		return []string{"member", "admin", "admin's application"}
	case identity.LinkHolder:
		return nil // none of them has a link; see TestLinks
	case identity.AdminToken:
		return []string{"admin", "admin's application"}
	case identity.AdminUser:
		return []string{"admin"}
	}
	return nil
}

var pathPart = regexp.MustCompile(`\{(\w+)\}`)

// Every endpoint of the server answers every role as docs/users.md says.
func TestEveryOperationWithEveryRole(t *testing.T) {
	t.Parallel()
	w := newWhole(t, identity.Policy{}, "default", "research")
	w.handler.Logins.all.SetLimit(rate.Inf)
	tokens := roles(t, w)
	if status, text := w.ask(t, http.MethodPost, "/api/v2/jobs", tokens["owner"], fmt.Sprintf(someJob, "train")); status != http.StatusAccepted {
		t.Fatalf("%d %s", status, text)
	}
	if _, err := w.accounts.UpdateGroup(t.Context(), "research", GroupChange{Rights: &RightsChange{Storages: &[]string{"nothing"}}}); err != nil {
		t.Fatal(err)
	}
	type operation struct {
		endpoint
		prefix string
	}
	var operations []operation
	for _, e := range w.handler.endpoints() {
		operations = append(operations, operation{e, "/api/v2"})
	}
	for _, e := range w.handler.openPAIEndpoints() {
		operations = append(operations, operation{e, openPAIPrefix})
	}
	covered := map[string]bool{}
	for _, o := range operations {
		i := slices.IndexFunc(identity.Rules(), func(r identity.Rule) bool { return r.Kind == o.kind && r.Verb == o.verb })
		if i < 0 {
			t.Errorf("%s %s has no rule", o.method, o.path)
			continue
		}
		rule := identity.Rules()[i]
		covered[string(o.kind)+string(o.verb)] = true
		for role, token := range tokens {
			if o.kind == identity.Session && o.verb == identity.Delete {
				token = w.again(t, role, token) // it ends with the request
			}
			want := slices.Contains(allowedRoles(rule.Who), role) || selfService(o.endpoint, role)
			path, body := w.request(t, o.endpoint)
			status, text := w.ask(t, o.method, o.prefix+path, token, body)
			refused := status == http.StatusUnauthorized || status == http.StatusForbidden
			if guest := role == "guest" || role == "unknown token"; guest && refused && status != http.StatusUnauthorized && o.kind != identity.Link {
				t.Errorf("%s %s%s by a %s: got %d, want 401", o.method, o.prefix, o.path, role, status)
			}
			if refused == want || status >= 500 {
				t.Errorf("%s %s%s by %s: got %d %.200s, want allowed %t (%s)", o.method, o.prefix, o.path, role, status, text, want, rule.Who)
			}
			w.handler.callers = callers{} // the rate is not what is tested
		}
	}
	for _, r := range identity.Rules() {
		if key := string(r.Kind) + string(r.Verb); !covered[key] && !slices.Contains([]string{"joblist"}, key) {
			t.Errorf("no endpoint uses the rule %s %s", r.Kind, r.Verb)
		}
	}
}

// selfService is for operations on what belongs to the caller: each user has their own.
func selfService(e endpoint, role string) bool {
	return e.kind == identity.Token && e.verb != identity.Delete && slices.Contains([]string{"owner", "other", "member", "admin"}, role)
}

// again returns another token of the same role.
func (w *whole) again(t *testing.T, role, token string) string {
	t.Helper()
	names := map[string]string{"owner": "owner", "other": "other", "member": "member", "admin": "boss"}
	if names[role] == "" {
		return token
	}
	return w.loggedIn(t, names[role])
}

// request fills in the path of an endpoint, and a body that changes little.
func (w *whole) request(t *testing.T, e endpoint) (path, body string) {
	t.Helper()
	values := map[string]string{"id": "owner~train", "user": "missing-user", "job": "train", "group": "nothing-there", "vc": "default", "storage": "nothing",
		"attempt": "0", "role": "worker", "index": "0", "taskAttempt": "0", "operation": "none"}
	if strings.HasPrefix(e.path, "/api/v1/user") {
		values["user"] = "owner"
	}
	if strings.Contains(e.path, "{token}") {
		token, err := w.accounts.CreateApplicationToken(t.Context(), "owner")
		if err != nil {
			t.Fatal(err)
		}
		values["token"] = token
	}
	path = pathPart.ReplaceAllStringFunc(e.path, func(p string) string { return values[p[1:len(p)-1]] })
	switch {
	case e.kind == identity.Job && e.verb == identity.Create:
		body = fmt.Sprintf(someJob, "again") + "defaults: {virtualCluster: research}\n"
	case e.kind == identity.Profile:
		body = `{"data": {"username": "owner", "email": ""}, "patch": true}`
	case strings.HasSuffix(e.path, "executionType"):
		body = `{"value": "STOP"}`
	case strings.HasSuffix(e.path, "/tag"):
		body = `{"value": "old"}`
	case e.kind == identity.Session && e.verb == identity.Create:
		body = `{"username": "missing-user", "password": "wrong"}`
	case e.kind == identity.User || e.kind == identity.Group:
		body = `{"data": {}}`
	}
	return path, body
}
