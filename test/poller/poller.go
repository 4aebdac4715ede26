// Package poller is a client of the REST server that never retries. Tests run it
// beside an operation: no request can fail.
package poller

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

// access is the part of the file rest.json that a client needs.
type access struct {
	URLs  []string `json:"urls"`
	CA    []byte   `json:"ca"`
	Token string   `json:"token"`
}

const (
	// every is how often each client makes a request.
	every = 500 * time.Millisecond
	// timeout is how long a request can take.
	timeout = 10 * time.Second
)

// Poller makes requests until it is stopped: with a client that keeps its connection,
// and with one that makes a connection for each request.
type Poller struct {
	url, token string
	cancel     context.CancelFunc
	clients    sync.WaitGroup

	mu     sync.Mutex
	result Result
}

// Result is what a poller saw.
type Result struct {
	Requests int
	Longest  time.Duration // the longest request
	Failures []string      // in order, with their times
}

// Start reads the access to a REST server and polls the list of jobs.
func Start(ctx context.Context, accessFile string) (*Poller, error) {
	data, err := os.ReadFile(accessFile)
	if err != nil {
		return nil, fmt.Errorf("read the access to the REST server: %w", err)
	}
	var a access
	pool := x509.NewCertPool()
	if err := json.Unmarshal(data, &a); err != nil || len(a.URLs) == 0 || !pool.AppendCertsFromPEM(a.CA) {
		return nil, fmt.Errorf("read the access to the REST server in %s: %w", accessFile, errors.Join(errors.New("it is incomplete"), err))
	}
	ctx, cancel := context.WithCancel(ctx)
	p := &Poller{url: a.URLs[0] + "/api/v2/jobs", token: a.Token, cancel: cancel}
	for kind, close := range map[string]bool{"kept connection": false, "new connection": true} {
		client := &http.Client{Timeout: timeout, Transport: &http.Transport{
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}, DisableKeepAlives: close, ForceAttemptHTTP2: true}}
		p.clients.Go(func() { p.poll(ctx, kind, client) })
	}
	return p, nil
}

// Stop ends the requests and returns what happened.
func (p *Poller) Stop() Result {
	p.cancel()
	p.clients.Wait()
	return p.result
}

func (p *Poller) poll(ctx context.Context, kind string, client *http.Client) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		began := time.Now()
		err := p.request(ctx, client)
		if ctx.Err() != nil {
			return
		}
		p.mu.Lock()
		p.result.Requests++
		p.result.Longest = max(p.result.Longest, time.Since(began))
		if err != nil {
			p.result.Failures = append(p.result.Failures, fmt.Sprintf("%s, after %s, %s: %v",
				began.Format("15:04:05.000"), time.Since(began).Round(time.Millisecond), kind, err))
		}
		p.mu.Unlock()
	}
}

func (p *Poller) request(ctx context.Context, client *http.Client) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+p.token)
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, body)
	}
	return err
}
