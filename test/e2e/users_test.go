//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// createdUser is a user whom the newer REST server created, and what the user has.
type createdUser struct {
	name, password string
	login          string // the token of a login, which the older server does not know
	token          string // a token that paictl created, which both know
}

// newerUsers creates a user. The newer server answers the older paictl as before.
func (s *upgradeStory) newerUsers() {
	s.user = s.createUser()
	s.wantUser(s.user)
	previous := *s.operator
	previous.program = s.older
	if out := previous.run(time.Minute, "job", "list"); !strings.Contains(out, "~train") {
		s.t.Errorf("the older paictl lists no job train:\n%s", out)
	}
	if out := previous.run(time.Minute, "job", "show", "train"); !strings.Contains(out, "RUNNING") {
		s.t.Errorf("the older paictl does not show the job train:\n%s", out)
	}
}

// usersLive upgrades once more, after every kind of rollback, under the same job.
func (s *upgradeStory) usersLive() {
	before := s.jobContainers()
	stopClient := s.startClient()
	defer func() { stopClient(s.t) }()
	s.wantUserAtOlderServer(s.user)
	s.run(10*time.Minute, "upgrade", "apply", "--to", newer, "--yes")
	s.wantUser(s.user)
	s.wantContainers(before)
}

// createUser creates a user with a group, a password, and tokens.
func (o *operator) createUser() createdUser {
	t := o.t
	t.Helper()
	u := createdUser{name: "ada", password: "a password of a test"}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	o.run(time.Minute, "group", "create", "vision", "--virtual-clusters", "default")
	if out, err := o.try(ctx, strings.NewReader(u.password+"\n"), "user", "create", u.name, "--password", "--groups", "vision"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var created struct{ Token string }
	o.json(&created, "user", "token", "create", u.name)
	u.token, u.login = created.Token, o.logIn(u)
	return u
}

// logIn logs a user in and returns the token of the login.
func (o *operator) logIn(u createdUser) string {
	t := o.t
	t.Helper()
	body, err := json.Marshal(map[string]string{"username": u.name, "password": u.password})
	if err != nil {
		t.Fatal(err)
	}
	status, answer := o.askREST(http.MethodPost, "/rest-server/api/v2/authn/basic/login", "", body)
	var login struct{ Token string }
	if err := json.Unmarshal(answer, &login); status != http.StatusOK || err != nil || login.Token == "" {
		t.Fatalf("log in as %s: status %d, error %v", u.name, status, err)
	}
	return login.Token
}

// wantUser wants that a user of the newer server has the group, both tokens, and the
// password, and sees no job of others.
func (o *operator) wantUser(u createdUser) {
	t := o.t
	t.Helper()
	if admin := o.run(time.Minute, "job", "list", "-o", "json"); !strings.Contains(admin, `"train"`) {
		t.Fatalf("the administrator has no job train:\n%s", admin)
	}
	for kind, token := range map[string]string{"created": u.token, "login": u.login, "new login": o.logIn(u)} {
		status, jobs := o.askREST(http.MethodGet, "/api/v2/jobs", token, nil)
		if status != http.StatusOK || bytes.Contains(jobs, []byte("train")) {
			t.Errorf("%s lists jobs with the %s token: status %d\n%s", u.name, kind, status, jobs)
		}
		status, one := o.askREST(http.MethodGet, "/api/v2/jobs/admin~train", token, nil)
		if status != http.StatusForbidden || bytes.Contains(one, []byte("RUNNING")) {
			t.Errorf("%s reads a job of the administrator with the %s token: status %d, want 403\n%s", u.name, kind, status, one)
		}
		missing, other := o.askREST(http.MethodGet, "/api/v2/jobs/admin~missing", token, nil)
		if got := bytes.ReplaceAll(other, []byte("missing"), []byte("train")); missing != status || !bytes.Equal(got, one) {
			t.Errorf("%s can find out which jobs the administrator has: status %d\n%s", u.name, missing, other)
		}
	}
	var users []struct {
		Username  string
		Grouplist []string
	}
	o.json(&users, "user", "list")
	for _, one := range users {
		if one.Username == u.name && slices.Contains(one.Grouplist, "vision") {
			return
		}
	}
	t.Errorf("%s is no user with the group vision: %+v", u.name, users)
}

// wantUserAtOlderServer wants that the token that the older server knows is valid there,
// and that the one it does not know is refused.
func (o *operator) wantUserAtOlderServer(u createdUser) {
	t := o.t
	t.Helper()
	if status, answer := o.askREST(http.MethodGet, "/api/v2/jobs", u.token, nil); status != http.StatusOK {
		t.Errorf("%s lists jobs of the older server: status %d, want 200\n%s", u.name, status, answer)
	}
	if status, answer := o.askREST(http.MethodGet, "/api/v2/jobs", "not "+u.token, nil); status != http.StatusUnauthorized {
		t.Errorf("the older server answers another token with status %d, want 401\n%s", status, answer)
	}
}

// askREST makes one request of the REST server, with a token or without.
func (o *operator) askREST(method, path, token string, body []byte) (status int, answer []byte) {
	t := o.t
	t.Helper()
	data, err := os.ReadFile(filepath.Join(o.state, "clusters", "local", "rest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var access struct {
		URLs []string
		CA   []byte
	}
	pool := x509.NewCertPool()
	if err := json.Unmarshal(data, &access); err != nil || len(access.URLs) == 0 || !pool.AppendCertsFromPEM(access.CA) {
		t.Fatalf("read the access to the REST server: it is incomplete (error %v)", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, access.URLs[0]+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}}}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil {
		t.Fatalf("%s %s: read the answer: %v", method, path, err)
	}
	return resp.StatusCode, answer
}
