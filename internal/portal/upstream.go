package portal

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"pai.dev/pai/internal/poll"
)

const (
	dialTimeout = 5 * time.Second
	// tries is how often a request that changes nothing is sent until it has an answer: a
	// REST server that is replaced does not end connections in a request, one that dies does.
	tries    = 3
	tryAfter = 300 * time.Millisecond
)

// NewTransport returns connections to the REST server. It trusts only the authority in a
// file, which is read for every connection.
func NewTransport(authority string) http.RoundTripper {
	dialer := &net.Dialer{Timeout: dialTimeout}
	return retrying{&http.Transport{
		DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			pool, err := readAuthority(authority)
			if err != nil {
				return nil, err
			}
			host, _, err := net.SplitHostPort(address)
			if err != nil {
				return nil, err
			}
			ctx, cancel := context.WithTimeoutCause(ctx, 2*dialTimeout, fmt.Errorf("no TLS connection within %s", 2*dialTimeout))
			defer cancel()
			return (&tls.Dialer{NetDialer: dialer, Config: &tls.Config{
				MinVersion: tls.VersionTLS12, RootCAs: pool, ServerName: host, NextProtos: []string{"h2", "http/1.1"},
			}}).DialContext(ctx, network, address)
		},
		ForceAttemptHTTP2: true,
		// A server that is not responding is noticed although streams are open.
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 10 * time.Second},
		IdleConnTimeout:        time.Minute,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true,
	}}
}

func readAuthority(file string) (*x509.CertPool, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the authority of the REST server: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("read the authority of the REST server: %s has no certificate", file)
	}
	return pool, nil
}

// retrying sends a request that changes nothing again if it got no answer.
type retrying struct{ next http.RoundTripper }

func (r retrying) RoundTrip(req *http.Request) (*http.Response, error) {
	for n := 1; ; n++ {
		resp, err := r.next.RoundTrip(req)
		if err == nil || n == tries || !isSafe(req.Method) || req.Body != nil && req.Body != http.NoBody {
			return resp, err
		}
		if poll.Sleep(req.Context(), tryAfter) != nil {
			return nil, err
		}
	}
}
