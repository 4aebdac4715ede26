package quorum

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/test/etcdtest"
)

// peers are three etcds that answer over HTTP, as those of a cluster do.
type peers struct {
	urls    [3]string
	down    [3]bool
	health  [3]string
	applied [3]uint64
	leader  uint64
	moved   string // the body of the request that moved the leadership
	learner bool   // the third one does not vote
	status  [3]uint64
}

func newPeers(t *testing.T) (*peers, *Local) {
	t.Helper()
	pki := etcdtest.NewPKI(t)
	root := t.TempDir()
	dir := filepath.Join(root, layout.PKIDir, "etcd")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"ca.crt": pki.CA, "healthcheck-client.crt": pki.Certificate, "healthcheck-client.key": pki.Key} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pair, err := tls.X509KeyPair(pki.Certificate, pki.Key)
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(pki.CA)
	p := &peers{leader: 11, health: [3]string{"true", "true", "true"}, applied: [3]uint64{50, 49, 48}, status: [3]uint64{11, 12, 13}}
	for i := range p.urls {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.answer(i, w, r) }))
		server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert}
		server.StartTLS()
		t.Cleanup(server.Close)
		p.urls[i] = server.URL
	}
	local, err := NewLocal(root, p.urls[0])
	if err != nil {
		t.Fatal(err)
	}
	return p, local
}

// answer writes what etcd 3.7 answers: numbers of 64 bits as strings.
func (p *peers) answer(i int, w http.ResponseWriter, r *http.Request) {
	if p.down[i] {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	body, _ := io.ReadAll(r.Body)
	header := map[string]string{"cluster_id": "7", "member_id": fmt.Sprint(p.status[i]), "raft_term": "4"}
	switch r.Method + " " + r.URL.Path {
	case "POST /v3/cluster/member/list":
		if !strings.Contains(string(body), `"linearizable":true`) {
			http.Error(w, "the list might be old", http.StatusBadRequest)
			return
		}
		var members []map[string]any
		for n, url := range p.urls {
			members = append(members, map[string]any{"ID": fmt.Sprint(11 + n), "name": fmt.Sprintf("cp-%d-a", n+1), "clientURLs": []string{url}, "isLearner": p.learner && n == 2})
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"header": header, "members": members})
	case "POST /v3/maintenance/status":
		_ = json.NewEncoder(w).Encode(map[string]any{"header": header, "version": "3.7.3", "leader": fmt.Sprint(p.leader), "raftTerm": "4", "raftIndex": "50",
			"raftAppliedIndex": fmt.Sprint(p.applied[i])})
	case "GET /health":
		if p.health[i] != "true" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"health": p.health[i], "reason": "RAFT NO LEADER"})
	case "POST /v3/maintenance/transfer-leadership":
		p.moved = string(body)
		fmt.Fprint(w, "{}")
	default:
		http.NotFound(w, r)
	}
}

func TestLocalAsksEveryMember(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(p *peers)
		want   string // part of the error of CanStop; no error if empty
	}{
		"all healthy":                 {func(*peers) {}, ""},
		"another is down":             {func(p *peers) { p.down[2] = true }, "etcd on cp-3 is unknown"},
		"another is not healthy":      {func(p *peers) { p.health[1] = "false" }, "etcd on cp-2 is not healthy"},
		"another one answers there":   {func(p *peers) { p.status[1] = 99 }, "member 63 answers at its address"},
		"a learner":                   {func(p *peers) { p.learner = true }, "etcd on cp-3 does not vote yet"},
		"there is no leader":          {func(p *peers) { p.leader = 0 }, "has no leader"},
		"the own etcd does not serve": {func(p *peers) { p.down[0] = true }, "the members of etcd are unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, local := newPeers(t)
			c.change(p)
			s, own := local.State(t.Context())
			if own != "cp-1" && s.Unknown == "" {
				t.Errorf("got the machine %q, want cp-1", own)
			}
			err := s.CanStop(own)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	if p, local := newPeers(t); p != nil {
		s, _ := local.State(t.Context())
		if m := s.Members[1]; m.ID != 12 || m.Cluster != 7 || m.Leader != 11 || m.Term != 4 || m.Index != 50 || m.Applied != 49 || m.Machine != "cp-2" {
			t.Errorf("got %+v", m)
		}
	}
}

// The leadership goes to a healthy voter, and only from the machine that has it.
func TestMoveLeader(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(p *peers)
		want   string
	}{
		"to the voter with the least lag": {func(*peers) {}, "12"},
		"to the one that is healthy":      {func(p *peers) { p.health[1] = "false" }, "13"},
		"no other one is healthy":         {func(p *peers) { p.health[1], p.down[2] = "false", true }, ""},
		"to no learner":                   {func(p *peers) { p.learner, p.health[1] = true, "false" }, ""},
		"another one leads":               {func(p *peers) { p.leader = 13 }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, local := newPeers(t)
			c.change(p)
			if err := local.MoveLeader(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := strings.NewReplacer(`{"targetID":"`, "", `"}`, "").Replace(p.moved); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	p, local := newPeers(t)
	p.down[0] = true
	if err := local.MoveLeader(t.Context()); err == nil {
		t.Error("the leadership of an unknown leader was moved")
	}
}

func TestLocalNeedsCertificates(t *testing.T) {
	t.Parallel()
	if _, err := NewLocal(t.TempDir(), "https://127.0.0.1:2379"); err == nil || !strings.Contains(err.Error(), "healthcheck-client") {
		t.Errorf("got %v, want that there is no certificate", err)
	}
}
