package witness

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
)

// What the API is asked. /readyz is what load balancers ask; the config map is
// one that every API server makes for itself, and reading it without a
// resource version goes to etcd.
const (
	readyPath = "/readyz"
	readPath  = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"
)

const (
	sampleEvery   = 100 * time.Millisecond
	sampleTimeout = time.Second
	// keptConnections is how many are kept where the API speaks HTTP/1 only.
	keptConnections = 16
	submitEvery     = time.Second
	// submitTimeout leaves room for the webhooks of a loaded cluster.
	submitTimeout = 5 * time.Second
)

// probeClient asks the API over connections of its own.
type probeClient struct {
	base *url.URL
	http *http.Client
}

// newProbeClient makes a client that makes a new connection for every request
// or, with keep, one that keeps its connection as controllers do.
func newProbeClient(cfg *rest.Config, keep bool) (*probeClient, error) {
	tlsConfig, err := rest.TLSConfigFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("read the API's certificates: %w", err)
	}
	transport := &http.Transport{
		TLSClientConfig:     tlsConfig,
		TLSHandshakeTimeout: submitTimeout,
		DialContext:         (&net.Dialer{Timeout: submitTimeout}).DialContext,
		DisableKeepAlives:   !keep,
		MaxIdleConnsPerHost: keptConnections,
	}
	if keep {
		transport = utilnet.SetTransportDefaults(transport) // HTTP/2, as every client-go client has it
	}
	wrapped, err := rest.HTTPWrappersForConfig(cfg, transport)
	if err != nil {
		return nil, fmt.Errorf("read the API's credentials: %w", err)
	}
	host := cfg.Host
	if !strings.Contains(host, "://") {
		host = "https://" + host
	}
	base, err := url.Parse(host)
	if err != nil {
		return nil, fmt.Errorf("read the API's address %q: %w", cfg.Host, err)
	}
	return &probeClient{base: base, http: &http.Client{Transport: wrapped}}, nil
}

// get succeeds when the API answers 200 with a whole body.
func (c *probeClient) get(path string) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		_, err := c.do(ctx, http.MethodGet, path, nil)
		return err
	}
}

func (c *probeClient) do(ctx context.Context, method, path string, body []byte) (int, error) {
	target := *c.base
	var query string
	path, query, _ = strings.Cut(path, "?")
	target.Path = strings.TrimSuffix(target.Path, "/") + path
	target.RawQuery = query
	req, err := http.NewRequestWithContext(ctx, method, target.String(), bytes.NewReader(body))
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
	if err := resp.Body.Close(); err != nil {
		return resp.StatusCode, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if err != nil {
		return resp.StatusCode, fmt.Errorf("%s %s: read the answer: %w", method, path, err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return resp.StatusCode, fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
	return resp.StatusCode, nil
}

func (c *probeClient) close() { c.http.CloseIdleConnections() }

const jobSetAPI = "/apis/jobset.x-k8s.io/v1alpha2"

// submission asks whether a job could be submitted: it creates a tiny JobSet
// as a dry run, which passes every webhook and leaves nothing behind. Where
// the cluster does not know JobSets there is nothing to ask.
type submission struct {
	client    *probeClient
	namespace string
}

func (s submission) ask(ctx context.Context) error {
	body, err := json.Marshal(tinyJobSet())
	if err != nil {
		return err
	}
	code, err := s.client.do(ctx, http.MethodPost, jobSetAPI+"/namespaces/"+s.namespace+"/jobsets?dryRun=All", body)
	if code == http.StatusNotFound {
		if code, known := s.client.do(ctx, http.MethodGet, jobSetAPI, nil); code == http.StatusNotFound && known != nil {
			return nil
		}
	}
	return err
}

// tinyJobSet is never created, so its image need not exist.
func tinyJobSet() map[string]any {
	type object = map[string]any
	return object{
		"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet",
		"metadata": object{"name": "pai-witness-probe"},
		"spec": object{"suspend": true, "replicatedJobs": []any{object{
			"name": "probe", "replicas": 1,
			"template": object{"spec": object{"parallelism": 1, "completions": 1, "backoffLimit": 0,
				"template": object{"spec": object{"restartPolicy": "Never", "containers": []any{object{
					"name": "probe", "image": "pai.local/probe:none",
				}}}},
			}},
		}}},
	}
}
