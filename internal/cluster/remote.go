package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
)

// sh runs a script and returns its trimmed standard output.
func sh(ctx context.Context, h machine.Host, format string, args ...any) (string, error) {
	out, err := h.Run(ctx, machine.Command{Script: fmt.Sprintf(format, args...)})
	return strings.TrimSpace(out.Stdout), err
}

// probeTimeout limits one request to the health endpoint of a component.
const probeTimeout = 3 * time.Second

// probe asks a component on the loopback address of a machine for its health.
func probe(ctx context.Context, h machine.Host, endpoint string, ca []byte) error {
	_, err := fetch(ctx, h, endpoint, ca, 2<<10)
	return err
}

// fetch reads up to limit bytes from a component on the loopback address of a
// machine. With a ca, its certificate must be signed by it for the name of the
// API. Components that sign their own certificates are not verified, because the
// connection goes through ssh to that machine.
func fetch(ctx context.Context, h machine.Host, endpoint string, ca []byte, limit int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	tlsConfig := &tls.Config{InsecureSkipVerify: ca == nil, ServerName: layout.APIName}
	if ca != nil {
		tlsConfig.RootCAs = x509.NewCertPool()
		tlsConfig.RootCAs.AppendCertsFromPEM(ca)
	}
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   tlsConfig,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return h.Dial(ctx, network, address)
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s: %s", endpoint, resp.Status, strings.TrimSpace(string(body)))
	}
	return body, nil
}

// withHost replaces the host of an URL and keeps its port.
func withHost(server, host string) (string, error) {
	u, err := url.Parse(server)
	if err != nil {
		return "", fmt.Errorf("read the address of the API: %w", err)
	}
	u.Host = net.JoinHostPort(host, u.Port())
	return u.String(), nil
}
