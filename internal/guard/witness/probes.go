package witness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"

	"pai.dev/pai/internal/kube"
)

// Paths of the requests. Load balancers use /readyz. Every API server creates the
// config map for itself, and a read without a resource version goes to etcd.
const (
	readyPath = "/readyz"
	readPath  = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"
)

const (
	sampleEvery   = 100 * time.Millisecond
	sampleTimeout = time.Second
	// keptConnections is the limit for an API that supports only HTTP/1.
	keptConnections = 16
	submitEvery     = time.Second
	// submitTimeout includes the time of webhooks on a loaded cluster.
	submitTimeout = 5 * time.Second
)

// probeClient sends requests to the API on its own connections.
type probeClient struct {
	base string // URL without a final slash
	http *http.Client
}

// newProbeClient returns a client that opens a connection for every request or,
// with keep, keeps its connection as controllers do.
func newProbeClient(cfg *rest.Config, keep bool) (*probeClient, error) {
	tlsConfig, err := rest.TLSConfigFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("read the certificates of the API: %w", err)
	}
	transport := &http.Transport{
		Proxy:               kube.NoProxy, // the default is the environment
		TLSClientConfig:     tlsConfig,
		TLSHandshakeTimeout: submitTimeout,
		DialContext:         dialWithin(dialOf(cfg), submitTimeout),
		DisableKeepAlives:   !keep,
		MaxIdleConnsPerHost: keptConnections,
	}
	if keep {
		transport = utilnet.SetTransportDefaults(transport) // HTTP/2, as in every client of client-go
	}
	wrapped, err := rest.HTTPWrappersForConfig(cfg, transport)
	if err != nil {
		return nil, fmt.Errorf("read the credentials of the API: %w", err)
	}
	base, _, err := rest.DefaultServerUrlFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("read the API address %q: %w", cfg.Host, err)
	}
	return &probeClient{base: strings.TrimSuffix(base.String(), "/"), http: &http.Client{Transport: wrapped}}, nil
}

// getRequest returns a function that sends a GET request for a path. The request succeeds
// with status 2xx and a complete body.
func (c *probeClient) getRequest(path string) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		_, err := c.do(ctx, http.MethodGet, path, nil)
		return err
	}
}

// do sends a request and returns the status of the answer, 0 without one. Every status but
// 2xx is also an error.
func (c *probeClient) do(ctx context.Context, method, path string, body []byte) (int, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("User-Agent", "pai-witness")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return resp.StatusCode, fmt.Errorf("%s %s: read the response: %w", method, path, err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return resp.StatusCode, fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
	return resp.StatusCode, nil
}

const jobSetAPI = "/apis/jobset.x-k8s.io/v1alpha2"

// submission tests whether jobs can be submitted: it creates a minimal JobSet as
// a dry run, which passes every webhook and stores nothing. In a cluster without
// JobSets there is nothing to test.
type submission struct {
	client    *probeClient
	namespace string
}

func (s submission) test(ctx context.Context) error {
	code, err := s.client.do(ctx, http.MethodPost, jobSetAPI+"/namespaces/"+s.namespace+"/jobsets?dryRun=All", []byte(minimalJobSet))
	if code == http.StatusNotFound { // of JobSets, or of the namespace
		if codeOfJobSets, _ := s.client.do(ctx, http.MethodGet, jobSetAPI, nil); codeOfJobSets == http.StatusNotFound {
			return nil
		}
	}
	return err
}

// minimalJobSet is never stored, so its image does not have to exist.
const minimalJobSet = `{"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "metadata": {"name": "pai-witness-probe"},
"spec": {"suspend": true, "replicatedJobs": [{"name": "probe", "replicas": 1,
"template": {"spec": {"parallelism": 1, "completions": 1, "backoffLimit": 0,
"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "probe", "image": "pai.local/probe:none"}]}}}}}]}}`
