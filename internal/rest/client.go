package rest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
)

// Client implements JobAPI with the REST server.
type Client struct {
	access Access
	http   *http.Client
}

var _ JobAPI = (*Client)(nil)

const dialTimeout = 5 * time.Second

// NewClient returns a client that trusts only the CA of the access.
func NewClient(a Access) (*Client, error) {
	pool := x509.NewCertPool()
	if len(a.URLs) == 0 || !pool.AppendCertsFromPEM(a.CA) {
		return nil, pai.Errorf(pai.CodeFailed, "save it again; run: paictl service start", "the access to the REST server is incomplete")
	}
	return &Client{access: a, http: &http.Client{Transport: &http.Transport{
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool},
		DialContext:           (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSHandshakeTimeout:   dialTimeout,
		ResponseHeaderTimeout: callTimeout + dialTimeout,
		ForceAttemptHTTP2:     true,
	}}}, nil
}

// Submit implements JobAPI.
func (c *Client) Submit(ctx context.Context, s Submission) (Submitted, error) {
	var done Submitted
	return done, c.call(ctx, http.MethodPost, "/api/v2/jobs", queryOf(s), "text/yaml", s.Protocol, &done)
}

// Preview implements JobAPI. A server of v0.10 has no previews: CodeRefused.
func (c *Client) Preview(ctx context.Context, s Submission) (Previewed, error) {
	var would Previewed
	err := c.call(ctx, http.MethodPost, "/api/v2/jobs"+dryRunPath, queryOf(s), "text/yaml", s.Protocol, &would)
	if code := pai.CodeOf(err); code == pai.CodeUsage || code == pai.CodeNotFound {
		return Previewed{}, pai.Errorf(pai.CodeRefused, "upgrade the services first; run: paictl upgrade plan", "the REST server is older than this paictl and has no dry run")
	}
	return would, err
}

func queryOf(s Submission) url.Values {
	q := url.Values{}
	if s.VirtualCluster != "" {
		q.Set("virtualCluster", s.VirtualCluster)
	}
	return q
}

// List implements JobAPI.
func (c *Client) List(ctx context.Context, f Filter) ([]job.Status, error) {
	q := url.Values{}
	for name, value := range map[string]string{"username": f.User, "vc": f.VirtualCluster, "state": string(f.State)} {
		if value != "" {
			q.Set(name, value)
		}
	}
	for name, value := range map[string]int{"offset": f.Offset, "limit": f.Limit} {
		if value > 0 {
			q.Set(name, strconv.Itoa(value))
		}
	}
	jobs := []job.Status{}
	header, err := c.answered(ctx, http.MethodGet, "/api/v2/jobs", q, "", nil, &jobs)
	if why := header.Get(incompleteHeader); why != "" && f.Incomplete != nil {
		f.Incomplete(why)
	}
	return jobs, err
}

// Get implements JobAPI.
func (c *Client) Get(ctx context.Context, id JobID) (job.Status, error) {
	var s job.Status
	return s, c.call(ctx, http.MethodGet, pathOf(id, ""), nil, "", nil, &s)
}

// Protocol implements JobAPI.
func (c *Client) Protocol(ctx context.Context, id JobID) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	resp, err := c.do(ctx, http.MethodGet, pathOf(id, "/config"), nil, "", nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(io.LimitReader(resp.Body, job.MaxSize))
}

// Operations implements JobAPI. A server of v0.10 has no operations: CodeNotFound.
func (c *Client) Operations(ctx context.Context, id JobID) ([]JobOperation, error) {
	operations := []JobOperation{}
	return operations, c.call(ctx, http.MethodGet, pathOf(id, "/operations"), nil, "", nil, &operations)
}

// Stop implements JobAPI.
func (c *Client) Stop(ctx context.Context, id JobID) error {
	return c.call(ctx, http.MethodPut, pathOf(id, "/executionType"), nil, "application/json", []byte(`{"value":"STOP"}`), nil)
}

// Storages returns the storages that the caller can use. A server of v0.10 has none:
// CodeRefused.
func (c *Client) Storages(ctx context.Context) ([]StorageInfo, error) {
	var list StorageList
	err := c.call(ctx, http.MethodGet, openPAIPrefix+"/api/v2/storages", nil, "", nil, &list)
	if pai.CodeOf(err) == pai.CodeNotFound {
		return nil, pai.Errorf(pai.CodeRefused, "upgrade the services first; run: paictl upgrade plan", "the REST server is older than this paictl and has no storages")
	}
	return list.Storages, err
}

// Storage returns a storage that the caller can use. The error is CodeNotFound or
// CodeForbidden otherwise.
func (c *Client) Storage(ctx context.Context, name string) (StorageDetail, error) {
	var d StorageDetail
	return d, c.call(ctx, http.MethodGet, openPAIPrefix+"/api/v2/storages/"+url.PathEscape(name), nil, "", nil, &d)
}

// VirtualClusters returns the use of the virtual clusters. A server of v0.10 does not know
// it: CodeRefused.
func (c *Client) VirtualClusters(ctx context.Context) ([]VirtualClusterUse, error) {
	all := []VirtualClusterUse{}
	err := c.call(ctx, http.MethodGet, "/api/v2/virtual-clusters", nil, "", nil, &all)
	if code := pai.CodeOf(err); code == pai.CodeUsage || code == pai.CodeNotFound {
		return nil, pai.Errorf(pai.CodeRefused, "upgrade the services first; run: paictl upgrade plan", "the REST server is older than this paictl and does not show the use of virtual clusters")
	}
	return all, err
}

// VirtualCluster returns the use of a virtual cluster with its queue. The error is
// CodeNotFound if it does not exist, and that of VirtualClusters from a server of v0.10.
func (c *Client) VirtualCluster(ctx context.Context, name string) (VirtualClusterUse, error) {
	var use VirtualClusterUse
	err := c.call(ctx, http.MethodGet, "/api/v2/virtual-clusters/"+url.PathEscape(name), nil, "", nil, &use)
	if pai.CodeOf(err) == pai.CodeNotFound {
		if _, older := c.VirtualClusters(ctx); pai.CodeOf(older) == pai.CodeRefused {
			err = older
		}
	}
	return use, err
}

// Info returns the description of the server. It needs no token.
func (c *Client) Info(ctx context.Context) (Info, error) {
	var i Info
	return i, c.call(ctx, http.MethodGet, "/api/v2/info", nil, "", nil, &i)
}

// Logs implements JobAPI. Followed output has no gap and no repetition, also if
// the server or the API server is replaced meanwhile.
func (c *Client) Logs(ctx context.Context, id JobID, o LogOptions) (io.ReadCloser, error) {
	if o.Follow {
		return c.follow(ctx, id, o)
	}
	return c.logs(ctx, id, o)
}

func (c *Client) logs(ctx context.Context, id JobID, o LogOptions) (io.ReadCloser, error) {
	q := url.Values{}
	if o.TaskRole != "" {
		q.Set("taskRole", o.TaskRole)
	}
	q.Set("index", strconv.Itoa(o.Index))
	if o.Attempt != nil {
		q.Set("attempt", strconv.Itoa(*o.Attempt))
	}
	q.Set("follow", strconv.FormatBool(o.Follow))
	q.Set("timestamps", strconv.FormatBool(o.Timestamps))
	if o.Tail > 0 {
		q.Set("tail", strconv.FormatInt(o.Tail, 10))
	}
	if !o.Since.IsZero() {
		q.Set("since", o.Since.Format(time.RFC3339Nano))
	}
	resp, err := c.do(ctx, http.MethodGet, pathOf(id, "/logs"), q, "", nil)
	if err != nil {
		return nil, err
	}
	if o.Attempt != nil && resp.Header.Get(attemptHeader) != strconv.Itoa(*o.Attempt) {
		resp.Body.Close()
		return nil, pai.Errorf(pai.CodeRefused, "upgrade the services first; run: paictl upgrade plan",
			"the REST server is older than this paictl and has only the output of the newest attempt")
	}
	if o.Missing != nil {
		for _, what := range resp.Header.Values(missingHeader) {
			o.Missing(what)
		}
	}
	return resp.Body, nil
}

func pathOf(id JobID, rest string) string {
	return "/api/v2/jobs/" + url.PathEscape(id.String()) + rest
}

func (c *Client) call(ctx context.Context, method, path string, q url.Values, contentType string, body []byte, result any) error {
	_, err := c.answered(ctx, method, path, q, contentType, body, result)
	return err
}

// answered is call with the header of the answer.
func (c *Client) answered(ctx context.Context, method, path string, q url.Values, contentType string, body []byte, result any) (http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout+dialTimeout)
	defer cancel()
	resp, err := c.do(ctx, method, path, q, contentType, body)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if result == nil {
		_, err = io.Copy(io.Discard, resp.Body)
	} else {
		err = json.NewDecoder(resp.Body).Decode(result)
	}
	if err != nil {
		return resp.Header, pai.Errorf(pai.CodeFailed, "", "read the answer of the REST server: %w", err)
	}
	return resp.Header, nil
}

// do sends a request to the first address that accepts a connection. It does not
// repeat a request that might have arrived.
func (c *Client) do(ctx context.Context, method, path string, q url.Values, contentType string, body []byte) (*http.Response, error) {
	var refused []string
	for _, base := range c.access.URLs {
		target := strings.TrimSuffix(base, "/") + path
		if len(q) > 0 {
			target += "?" + q.Encode()
		}
		req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
		if err != nil {
			return nil, fmt.Errorf("make request: %w", err)
		}
		if contentType != "" {
			req.Header.Set("Content-Type", contentType)
		}
		req.Header.Set("Authorization", "Bearer "+c.access.Token)
		resp, err := c.http.Do(req)
		if err == nil {
			return checked(resp)
		}
		if ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled) {
			return nil, ctx.Err()
		}
		refused = append(refused, err.Error())
		var op *net.OpError
		if !errors.As(err, &op) || op.Op != "dial" {
			break
		}
	}
	return nil, pai.Errorf(pai.CodeFailed, "check the services; run: paictl service status",
		"%w: %s", errUnreachable, strings.Join(refused, "; "))
}

func checked(resp *http.Response) (*http.Response, error) {
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("read the answer of the REST server: %w", err)
	}
	e := errorFrom(resp.StatusCode, body)
	if resp.Header.Get(notStartedHeader) != "" {
		e.Err = errors.Join(e.Err, errNotStarted)
	}
	return nil, e
}
