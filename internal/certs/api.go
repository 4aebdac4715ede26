package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// api asks the API server. The helper has no Kubernetes client, which would make it
// ten times as large.
type api struct {
	server string
	http   *http.Client
}

// apiTimeout limits one request to the API.
const apiTimeout = 10 * time.Second

// maxResponse is how much is read of a response.
const maxResponse = 4 << 20

func newAPI(server string, authority, cert, key []byte) (*api, error) {
	identity, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("read the identity for the API: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authority) {
		return nil, errors.New("the authority of the cluster is not in PEM")
	}
	return &api{server: server, http: &http.Client{Timeout: apiTimeout, Transport: &http.Transport{
		Proxy:             nil, // the API is on this machine or on one of PAI's
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{identity}, MinVersion: tls.VersionTLS12},
	}}}, nil
}

// statusError is an answer of the API that is not a success.
type statusError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func (e *statusError) Error() string {
	return fmt.Sprintf("the API answered %d: %s", e.Code, strings.TrimSpace(e.Message))
}

func isNotFound(err error) bool {
	failed := new(statusError)
	return errors.As(err, &failed) && failed.Code == http.StatusNotFound
}

// do sends a request with a JSON body, if any, and decodes the answer.
func (a *api) do(ctx context.Context, method, path string, body, answer any) error {
	var in io.Reader
	kind := "application/json"
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(data)
		if method == http.MethodPatch {
			kind = "application/merge-patch+json"
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, a.server+path, in)
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", kind)
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "pai-machine")
	response, err := a.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, maxResponse))
	if err != nil {
		return err
	}
	if response.StatusCode >= http.StatusMultipleChoices {
		failed := &statusError{Code: response.StatusCode, Message: response.Status}
		_ = json.Unmarshal(data, failed) // a proxy answers in another form
		return failed
	}
	return json.Unmarshal(data, answer)
}
