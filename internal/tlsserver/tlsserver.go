// Package tlsserver serves HTTP over TLS. It completes all requests before it ends, and
// its certificate can be replaced at any time.
package tlsserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"pai.dev/pai/internal/poll"
)

// WriteTimeout is how long an answer can take. Streams move it forward.
const WriteTimeout = time.Minute

// finishTimeout is how long requests in progress can take to end.
const finishTimeout = 20 * time.Second

// Server serves one handler on one listener.
type Server struct {
	certDir  string
	drain    time.Duration
	log      *slog.Logger
	draining atomic.Bool
	ended    chan struct{}
}

// New returns a server. certDir has tls.crt and tls.key. drain is how long the server
// accepts requests after the request to end, so that load balancers notice that it is not
// ready.
func New(certDir string, drain time.Duration, log *slog.Logger) *Server {
	return &Server{certDir: certDir, drain: drain, log: log, ended: make(chan struct{})}
}

// Draining reports that the server is about to end and is no longer ready.
func (s *Server) Draining() bool { return s.draining.Load() }

// Ended is closed when streams must end.
func (s *Server) Ended() <-chan struct{} { return s.ended }

// Run serves on a listener until the context ends, drains, and returns. Call it once.
func (s *Server) Run(ctx context.Context, l net.Listener, h http.Handler) error {
	certs := &certificate{dir: s.certDir}
	if _, err := certs.get(nil); err != nil {
		return err
	}
	// Requests must not end with ctx: they have the time of drain.
	requests := context.WithoutCancel(ctx)
	srv := &http.Server{
		Handler:           s.leaving(h),
		TLSConfig:         &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: certs.get},
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		WriteTimeout:      WriteTimeout,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		BaseContext:       func(net.Listener) context.Context { return requests },
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.ServeTLS(l, "", "") }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	s.draining.Store(true)
	s.log.Info("ending", "drain", s.drain)
	_ = poll.Sleep(requests, s.drain) // requests does not end
	close(s.ended)                    // clients open streams again on another server
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
func (s *Server) leaving(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if s.Draining() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, req)
	})
}
