package certs

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
)

func TestCheckOfClientRequests(t *testing.T) {
	t.Parallel()
	machines := []Machine{{"pai-1", "10.9.0.11"}, {"pai-2", "10.9.0.12"}}
	older := func(machine string) (string, error) { return map[string]string{"pai-2": "v1.36.3"}[machine], nil }
	type change func(*RequestSpec, *x509.CertificateRequest)
	for _, c := range []struct {
		name   string
		change change
		wrong  string // part of the reason; empty if it is to be approved
	}{
		{"kube-proxy", func(*RequestSpec, *x509.CertificateRequest) {}, ""},
		{"the network program of v0.10", func(_ *RequestSpec, r *x509.CertificateRequest) { r.Subject.CommonName = layout.NetworkUser }, ""},
		{"the network program of the machine", func(_ *RequestSpec, r *x509.CertificateRequest) { r.Subject.CommonName = layout.NetworkUser + ":pai-2" }, ""},
		{"that of another machine", func(_ *RequestSpec, r *x509.CertificateRequest) { r.Subject.CommonName = layout.NetworkUser + ":pai-1" }, "subject"},
		{"the administrator", func(_ *RequestSpec, r *x509.CertificateRequest) { r.Subject.CommonName = "kubernetes-admin" }, "subject"},
		{"another kubelet", func(_ *RequestSpec, r *x509.CertificateRequest) { r.Subject.CommonName = "system:node:pai-1" }, "subject"},
		{"the approver", func(_ *RequestSpec, r *x509.CertificateRequest) { r.Subject.CommonName = layout.CertificatesUser }, "subject"},
		{"a group", func(_ *RequestSpec, r *x509.CertificateRequest) { r.Subject.Organization = []string{operatorGroup} }, "subject"},
		{"a name", func(_ *RequestSpec, r *x509.CertificateRequest) { r.DNSNames = []string{layout.APIName} }, "names"},
		{"a URI", func(_ *RequestSpec, r *x509.CertificateRequest) { r.URIs = []*url.URL{{Scheme: "spiffe", Host: "x"}} }, "URI"},
		{"a server", func(s *RequestSpec, _ *x509.CertificateRequest) { s.Usages = append(s.Usages, "server auth") }, "server auth"},
		{"an unknown machine", func(s *RequestSpec, _ *x509.CertificateRequest) { s.Username = "system:node:pai-3" }, "pai-3"},
		{"a service account", func(s *RequestSpec, _ *x509.CertificateRequest) { s.Username = "system:serviceaccount:a:pai-2" }, "not the kubelet"},
		{"another signer", func(s *RequestSpec, _ *x509.CertificateRequest) { s.SignerName = "kubernetes.io/legacy-unknown" }, "legacy-unknown"},
	} {
		spec := RequestSpec{SignerName: ClientSigner, Username: "system:node:pai-2", Usages: []string{"digital signature", "client auth"}}
		request := &x509.CertificateRequest{Subject: pkix.Name{CommonName: layout.KubeProxyUser}}
		c.change(&spec, request)
		spec.Request = signed(t, request)
		err := Check(spec, machines, older)
		if c.wrong == "" && err != nil || c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)) {
			t.Errorf("%s: got %v, want a reason with %q", c.name, err, c.wrong)
		}
	}
}

// The user that network programs of v0.10 share is only for machines that have one: with
// it, a program changes all nodes of such machines.
func TestSharedUserIsForOlderKubelets(t *testing.T) {
	t.Parallel()
	spec := RequestSpec{SignerName: ClientSigner, Username: "system:node:pai-2", Usages: []string{"digital signature", "client auth"},
		Request: signed(t, &x509.CertificateRequest{Subject: pkix.Name{CommonName: layout.NetworkUser}})}
	for version, ok := range map[string]bool{"v1.35.4": true, "v1.36.3": true, "v1.37.2": false, "v1.38.0": false, "v2.0.0": false, "": false, "old": false} {
		err := Check(spec, []Machine{{"pai-2", "10.9.0.12"}}, func(machine string) (string, error) {
			if machine != "pai-2" {
				t.Errorf("got a question about machine %q", machine)
			}
			return version, nil
		})
		if (err == nil) != ok {
			t.Errorf("kubelet %q: got %v, want approved %v", version, err, ok)
		}
	}
	unknown := errors.New("the API answered 403")
	if err := Check(spec, []Machine{{"pai-2", "10.9.0.12"}}, func(string) (string, error) { return "v1.36.3", unknown }); !errors.Is(err, unknown) {
		t.Errorf("got %v for a kubelet that is unknown, want its reason", err)
	}
}

func signed(t *testing.T, request *x509.CertificateRequest) []byte {
	t.Helper()
	key, _, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, request, key)
	if err != nil {
		t.Fatal(err)
	}
	return encode(blockRequest, der)
}

// cluster is an API server with requests and Secrets. It signs what is approved.
type cluster struct {
	f        *fixture
	mu       sync.Mutex
	requests map[string]*signingRequest
	secrets  map[string]map[string][]byte
	users    []string // who asked, in order
	kubelet  string   // the version that every node reports
	url      string
}

func newCluster(t *testing.T, f *fixture) *cluster {
	t.Helper()
	c := &cluster{f: f, requests: map[string]*signingRequest{}, secrets: map[string]map[string][]byte{}}
	server := httptest.NewUnstartedServer(c)
	cert, key := f.leaf(clusterCA, "kube-apiserver")
	own, err := tls.X509KeyPair(cert, key)
	f.check(err)
	ca, err := f.read(clusterCA)
	f.check(err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{own}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
	server.StartTLS()
	t.Cleanup(server.Close)
	c.url = server.URL
	f.kubeconfig(layout.AdminConf, "kubernetes-admin", c.url)
	machines, err := json.Marshal(Recorded{Machines: []Machine{{"pai-2", "10.9.0.12"}}})
	f.check(err)
	f.put(layout.CertificatesFile, machines)
	return c
}

func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	user := r.TLS.PeerCertificates[0].Subject.CommonName
	c.users = append(c.users, user)
	answer := any(map[string]any{})
	name := strings.TrimPrefix(r.URL.Path, requestsPath+"/")
	const secrets = "/api/v1/namespaces/pai-system/secrets/"
	switch {
	case strings.HasPrefix(r.URL.Path, secrets):
		data := c.secrets[strings.TrimPrefix(r.URL.Path, secrets)]
		if data == nil {
			http.Error(w, "{}", http.StatusNotFound)
			return
		}
		var patch secret
		if r.Method == http.MethodPatch && json.NewDecoder(r.Body).Decode(&patch) == nil {
			for k, v := range patch.Data {
				data[k] = v
			}
		}
		answer = secret{Data: data}
	case r.Method == http.MethodPost:
		var request signingRequest
		c.f.check(json.NewDecoder(r.Body).Decode(&request))
		request.Metadata = map[string]any{"name": "pai-x"}
		request.Spec.Username = user
		c.requests["pai-x"] = &request
		answer = request
	case r.Method == http.MethodPut:
		var request signingRequest
		c.f.check(json.NewDecoder(r.Body).Decode(&request))
		name = strings.TrimSuffix(name, "/approval")
		c.requests[name].Status.Conditions = request.Status.Conditions
		c.sign(c.requests[name])
	case strings.HasPrefix(r.URL.Path, "/api/v1/nodes/"):
		answer = map[string]any{"status": map[string]any{"nodeInfo": map[string]any{"kubeletVersion": c.kubelet}}}
	case r.URL.Path == requestsPath:
		var list struct {
			Items []*signingRequest `json:"items"`
		}
		for _, request := range c.requests {
			if r.URL.Query().Get("fieldSelector") == "spec.signerName="+request.Spec.SignerName {
				list.Items = append(list.Items, request)
			}
		}
		answer = list
	default:
		answer = c.requests[name]
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func (c *cluster) sign(r *signingRequest) {
	csr, err := parseRequest(r.Spec.Request)
	c.f.check(err)
	ca, err := c.f.issuer(clusterCA)
	c.f.check(err)
	r.Status.Certificate, err = ca.sign(&x509.Certificate{Subject: csr.Subject, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}},
		csr.PublicKey.(*ecdsa.PublicKey), time.Duration(*r.Spec.Expiration)*time.Second+datedBack, c.f.now)
	c.f.check(err)
}

// A worker asks as its kubelet, the control-plane machine approves with the identity
// that it makes for itself, and the worker has a new certificate for the same user.
func TestWorkerRenewsThroughTheAPI(t *testing.T) {
	t.Parallel()
	for kubelet, user := range map[string]string{"v1.37.2": layout.NetworkUser + ":pai-2", "v1.36.3": layout.NetworkUser} {
		t.Run(kubelet, func(t *testing.T) {
			t.Parallel()
			testWorkerRenews(t, kubelet, user)
		})
	}
}

func testWorkerRenews(t *testing.T, kubelet, network string) {
	t.Helper()
	control := newFixture(t, year)
	api := newCluster(t, control)
	api.kubelet = kubelet
	worker := &fixture{t: t, now: control.now, started: control.now.Add(-time.Hour), lives: year}
	worker.Store = control.Store
	worker.Root, worker.Now, worker.Run = t.TempDir(), func() time.Time { return worker.now }, worker.run
	control.kubeconfig(layout.NetworkConf, network, api.url)
	data, err := control.read(layout.NetworkConf)
	control.check(err)
	cert, key := issue(control, network, nil, control.now.Add(-9*year/10))
	data, err = withIdentity(data, cert, key)
	control.check(err)
	worker.put(layout.NetworkConf, data)
	join := func(from time.Time) {
		cert, key := issue(control, "system:node:pai-2", []string{nodeGroup}, from)
		worker.put(layout.KubeletClientCertificate, slices.Concat(cert, key))
	}

	if _, err := worker.Renew(t.Context(), false); err == nil || !strings.Contains(err.Error(), "no identity yet") {
		t.Errorf("got %v before the kubelet joined", err)
	}
	join(control.now.Add(-2 * year))
	if _, err := worker.Renew(t.Context(), false); err == nil || !strings.Contains(err.Error(), "k8s-bootup") {
		t.Errorf("got %v with an identity that ended, want the command that joins it again", err)
	}
	join(control.now)
	stop := make(chan struct{})
	var approving sync.WaitGroup
	approving.Go(func() {
		approver := &Approver{Store: control.Store}
		for {
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
				_ = approver.Approve(t.Context())
			}
		}
	})
	renewed, err := worker.Renew(t.Context(), false)
	close(stop)
	approving.Wait()
	if err != nil || !slices.Equal(renewed, []string{layout.NetworkConf}) {
		t.Fatalf("got %q, %v", renewed, err)
	}
	c := worker.certificateIn(layout.NetworkConf)
	if c.Subject.CommonName != network || life(c) != year || Due(c, worker.now) {
		t.Errorf("got %s from %s to %s, want another year", c.Subject, c.NotBefore, c.NotAfter)
	}
	for _, user := range []string{"system:node:pai-2", layout.CertificatesUser} {
		if !slices.Contains(api.users, user) {
			t.Errorf("got requests of %q, want one of %s", api.users, user)
		}
	}
	if !slices.Contains(worker.restarts, "pai-network.service") {
		t.Errorf("got the restarts %q, want that of the network program", worker.restarts)
	}
}

// issue signs a certificate of a year that begins at a moment.
func issue(control *fixture, user string, groups []string, from time.Time) (cert, key []byte) {
	control.t.Helper()
	ca, err := control.issuer(clusterCA)
	control.check(err)
	private, key, err := newKey()
	control.check(err)
	cert, err = ca.sign(&x509.Certificate{Subject: pkix.Name{CommonName: user, Organization: groups}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, private.Public(), year, from)
	control.check(err)
	return cert, key
}

func TestApproverLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	f := newFixture(t, year)
	api := newCluster(t, f)
	request := &x509.CertificateRequest{Subject: pkix.Name{CommonName: "system:node:pai-2", Organization: []string{nodeGroup}},
		DNSNames: []string{"pai-2"}, IPAddresses: []net.IP{net.ParseIP("10.9.0.12")}}
	spec := RequestSpec{SignerName: ServingSigner, Username: "system:node:pai-2", Usages: []string{"digital signature", "server auth"}, Request: signed(t, request)}
	request.IPAddresses = []net.IP{net.ParseIP("10.9.0.99")}
	wrong := spec
	wrong.Request = signed(t, request)
	seconds := int32(3600)
	for name, s := range map[string]RequestSpec{"right": spec, "wrong": wrong} {
		s.Expiration = &seconds
		api.requests[name] = &signingRequest{Metadata: map[string]any{"name": name}, Spec: s}
	}
	for range 2 {
		if err := (&Approver{Store: f.Store}).Approve(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(api.requests["right"].Status.Conditions) != 1 || len(api.requests["wrong"].Status.Conditions) != 0 {
		t.Errorf("got %v and %v, want the first one approved", api.requests["right"].Status, api.requests["wrong"].Status)
	}
}

func TestRESTServerKeepsItsKey(t *testing.T) {
	t.Parallel()
	f := newFixture(t, year)
	api := newCluster(t, f)
	if err := f.RenewServer(t.Context(), false); err != nil {
		t.Errorf("got %v without a REST server", err)
	}
	ca, err := f.read(etcdCA)
	f.check(err)
	caKey, err := f.read(layout.PKIDir + "/etcd/ca.key")
	f.check(err)
	api.secrets[pai.RESTServerCA] = map[string][]byte{tlsCert: ca, tlsKey: caKey}
	servers := map[string][2][]byte{}
	for _, name := range []string{pai.RESTServerTLS, pai.PortalTLS, pai.MetricsTLS} {
		cert, key := f.leaf(etcdCA, name)
		servers[name] = [2][]byte{cert, key}
		api.secrets[name] = map[string][]byte{tlsCert: cert, tlsKey: key}
	}
	if err := f.RenewServer(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	for name, pair := range servers {
		if !slices.Equal(api.secrets[name][tlsCert], pair[0]) {
			t.Errorf("%s: a fresh certificate was renewed", name)
		}
	}
	if err := f.RenewServer(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	for name, pair := range servers {
		got := api.secrets[name]
		if _, err := tls.X509KeyPair(got[tlsCert], got[tlsKey]); err != nil || slices.Equal(got[tlsCert], pair[0]) || !slices.Equal(got[tlsKey], pair[1]) {
			t.Errorf("%s: got %v, want another certificate for the same key", name, err)
		}
	}
}

func TestOperatorCertificate(t *testing.T) {
	t.Parallel()
	f := newFixture(t, year)
	data, err := f.read(layout.AdminConf)
	f.check(err)
	admin, err := readKubeconfig(data)
	f.check(err)
	own, err := OperatorKubeconfig(func(public []byte) ([]byte, error) {
		issued, err := f.IssueOperator("ann@desk", public)
		if a, failed := readKubeconfig(issued); failed != nil || len(a.key) > 0 || slices.Equal(a.cert, admin.cert) {
			t.Errorf("got %v, want no key and no certificate of the administrator to leave the machine", failed)
		}
		return issued, err
	})
	if err != nil {
		t.Fatal(err)
	}
	a, err := readKubeconfig(own)
	f.check(err)
	c, err := leaf(a.cert)
	f.check(err)
	if _, err := tls.X509KeyPair(a.cert, a.key); err != nil || c.Subject.CommonName != "operator:ann@desk" || life(c) != OperatorLife {
		t.Errorf("got %s for %s, %v", c.Subject, life(c), err)
	}
	if _, err := f.IssueOperator("", []byte("x")); err == nil {
		t.Error("got a certificate without a name and a key")
	}
}
