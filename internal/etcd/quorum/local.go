package quorum

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"pai.dev/pai/internal/layout"
)

// localTimeout limits one request of a machine to an etcd.
const localTimeout = 3 * time.Second

// Local asks the etcds of a cluster from one of their machines: the own one on the
// loopback address, the others at the addresses for clients that the members have. It
// speaks the HTTP form of etcd's interface, which every etcd serves beside gRPC.
type Local struct {
	client *http.Client
	own    string // the address of the etcd of this machine
}

// NewLocal reads the client certificate of the machine below a root directory. own is the
// address of its etcd, such as "https://127.0.0.1:2379".
func NewLocal(root, own string) (*Local, error) {
	at := func(name string) string { return filepath.Join(root, layout.PKIDir, "etcd", name) }
	certificate, err := tls.LoadX509KeyPair(at("healthcheck-client.crt"), at("healthcheck-client.key"))
	if err != nil {
		return nil, fmt.Errorf("read the etcd client certificate: %w", err)
	}
	ca, err := os.ReadFile(at("ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("read the authority of etcd: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("%s contains no certificate", at("ca.crt"))
	}
	return &Local{own: own, client: &http.Client{Timeout: localTimeout, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: []tls.Certificate{certificate}},
	}}}, nil
}

// listed is the list of members in JSON. Numbers of 64 bits are strings.
type listed struct {
	Header  header
	Members []struct {
		ID         uint64 `json:",string"`
		Name       string
		ClientURLs []string
		IsLearner  bool
	}
}

type header struct {
	ClusterID uint64 `json:"cluster_id,string"`
	MemberID  uint64 `json:"member_id,string"`
}

// reported is the status of a member in JSON.
type reported struct {
	Header           header
	Leader           uint64 `json:",string"`
	RaftIndex        uint64 `json:",string"`
	RaftTerm         uint64 `json:",string"`
	RaftAppliedIndex uint64 `json:",string"`
}

// State asks all members, in parallel. It returns the state, and the machine that asks,
// by the name of its member.
func (l *Local) State(ctx context.Context) (s State, own string) {
	var list listed
	if err := l.post(ctx, l.own, "/v3/cluster/member/list", `{"linearizable":true}`, &list); err != nil {
		return State{Unknown: err.Error()}, ""
	}
	s.Members = make([]Member, len(list.Members))
	var asked sync.WaitGroup
	for i, m := range list.Members {
		s.Members[i] = Member{ID: m.ID, Name: m.Name, Machine: machineOf(m.Name), Learner: m.IsLearner}
		address := l.own
		if m.ID != list.Header.MemberID {
			if len(m.ClientURLs) == 0 {
				s.Members[i].Unknown = "it never started"
				continue
			}
			address = m.ClientURLs[0]
		} else {
			own = machineOf(m.Name)
		}
		asked.Go(func() { l.ask(ctx, address, &s.Members[i]) })
	}
	asked.Wait()
	return s, own
}

// machineOf is the machine of a member, whose name ends with its slot.
func machineOf(name string) string {
	for _, s := range layout.Slots() {
		if machine, found := strings.CutSuffix(name, s.Member("")); found {
			return machine
		}
	}
	return ""
}

// ask fills in what a member reports about itself.
func (l *Local) ask(ctx context.Context, address string, m *Member) {
	var r reported
	if err := l.post(ctx, address, "/v3/maintenance/status", "{}", &r); err != nil {
		m.Unknown = err.Error()
		return
	}
	if r.Header.MemberID != m.ID {
		m.Unknown = fmt.Sprintf("member %x answers at its address %s", r.Header.MemberID, address)
		return
	}
	m.Cluster, m.Leader, m.Term, m.Index, m.Applied = r.Header.ClusterID, r.Leader, r.RaftTerm, r.RaftIndex, r.RaftAppliedIndex
	if m.Learner {
		return // it serves no health
	}
	if err := l.healthy(ctx, address); err != nil {
		m.Unhealthy = err.Error()
	}
}

// healthy reads through a member, which needs a quorum, and asks for its alarms.
func (l *Local) healthy(ctx context.Context, address string) error {
	var health struct{ Health, Reason string }
	if err := l.do(ctx, http.MethodGet, address+"/health", "", &health); err != nil {
		return err
	}
	if health.Health != "true" {
		return fmt.Errorf("%s reports health %q: %s", address, health.Health, health.Reason)
	}
	return nil
}

// MoveLeader makes the healthy voter with the least lag the leader, if the etcd of this
// machine is it. Its machine can then stop without an election.
func (l *Local) MoveLeader(ctx context.Context) error {
	s, machine := l.State(ctx)
	if s.Unknown != "" {
		return fmt.Errorf("move the leadership: the members of etcd are unknown: %s", s.Unknown)
	}
	to := s.successor(machine)
	if to == 0 {
		return nil
	}
	var none struct{}
	return l.post(ctx, l.own, "/v3/maintenance/transfer-leadership", fmt.Sprintf(`{"targetID":"%d"}`, to), &none)
}

// successor is the voter that leads after a machine; 0 if the machine does not lead, or no
// other voter can.
func (s State) successor(machine string) (id uint64) {
	leads, applied := false, uint64(0)
	for _, m := range s.Members {
		switch {
		case m.Machine == machine:
			leads = leads || m.Leader == m.ID && m.ID != 0
		case m.Learner || !new(Error).addMember(m):
		case id == 0 || m.Applied > applied:
			id, applied = m.ID, m.Applied
		}
	}
	if !leads {
		return 0
	}
	return id
}

func (l *Local) post(ctx context.Context, address, path, body string, into any) error {
	return l.do(ctx, http.MethodPost, address+path, body, into)
}

func (l *Local) do(ctx context.Context, method, url, body string, into any) error {
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewBufferString(body))
	if err != nil {
		return err
	}
	response, err := l.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", url, err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s: %s", url, response.Status, strings.TrimSpace(string(data)))
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("read the answer of %s: %w", url, err)
	}
	return nil
}
