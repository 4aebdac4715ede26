package rest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"pai.dev/pai/internal/poll"
)

// Server serves a Handler over TLS and completes all requests before it ends.
type Server struct {
	Handler *Handler
	// CertDir has tls.crt and tls.key, which can be replaced at any time.
	CertDir string
	// Drain is how long the server accepts requests after the request to end, so
	// that load balancers notice that it is not ready.
	Drain time.Duration
	Log   *slog.Logger
}

// finishTimeout is how long requests in progress can take to end.
const finishTimeout = 20 * time.Second

// Run serves on a listener until the context ends, drains, and returns.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	certs := &certificate{dir: s.CertDir}
	if _, err := certs.get(nil); err != nil {
		return err
	}
	var draining atomic.Bool
	ended := make(chan struct{})
	s.Handler.Draining, s.Handler.Ended = draining.Load, ended
	// Requests must not end with ctx: they have the time of Drain.
	requests := context.WithoutCancel(ctx)
	srv := &http.Server{
		Handler:           leaving(s.Handler.Routes(), draining.Load),
		TLSConfig:         &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: certs.get},
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		WriteTimeout:      requestTimeout, // followed logs move it forward
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		BaseContext:       func(net.Listener) context.Context { return requests },
		ErrorLog:          slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.ServeTLS(l, "", "") }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	draining.Store(true)
	s.Log.Info("ending", "drain", s.Drain)
	_ = poll.Sleep(requests, s.Drain) // requests does not end
	close(ended)                      // clients follow logs on another server
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	if err := srv.Shutdown(stop); err != nil {
		return fmt.Errorf("end: %w", errors.Join(err, srv.Close()))
	}
	return nil
}

// leaving asks clients to leave a server that drains: each answer ends its connection,
// with HTTP/2 after the requests in progress. A connection that the server closed
// while it is idle would meet the next request of its client.
func leaving(next http.Handler, draining func() bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if draining() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, req)
	})
}

// certificate is the certificate of the server. It is read again when it is
// replaced.
type certificate struct {
	dir string

	mu     sync.Mutex
	loaded *tls.Certificate
	read   time.Time
}

const certificateFreshFor = 30 * time.Second

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.loaded != nil && time.Since(c.read) < certificateFreshFor {
		return c.loaded, nil
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(c.dir, "tls.crt"), filepath.Join(c.dir, "tls.key"))
	switch {
	case err == nil:
		c.loaded = &pair
	case c.loaded == nil:
		return nil, fmt.Errorf("load the certificate of the server: %w", err)
	}
	c.read = time.Now()
	return c.loaded, nil
}
