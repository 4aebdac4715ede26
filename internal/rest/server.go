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
)

// Server serves a Handler over TLS, and ends without dropping a request.
type Server struct {
	Handler *Handler
	// CertDir holds tls.crt and tls.key, which may be replaced while it runs.
	CertDir string
	// Drain is how long requests are still accepted after the end was asked
	// for, so that whoever sends them here can learn of it.
	Drain time.Duration
	Log   *slog.Logger
}

// finishTimeout is how long running requests may take to end.
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
	// Requests must not end with ctx: they are what the draining is for.
	requests := context.WithoutCancel(ctx)
	srv := &http.Server{
		Handler:           s.Handler.Routes(),
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
	srv.SetKeepAlivesEnabled(false)
	s.Log.Info("ending", "drain", s.Drain)
	time.Sleep(s.Drain)
	close(ended) // who follows a log goes on with another server
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	if err := srv.Shutdown(stop); err != nil {
		return fmt.Errorf("end: %w", errors.Join(err, srv.Close()))
	}
	return nil
}

// certificate is the server's certificate, read again when it is replaced.
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
		return nil, fmt.Errorf("load the server's certificate: %w", err)
	}
	c.read = time.Now()
	return c.loaded, nil
}
