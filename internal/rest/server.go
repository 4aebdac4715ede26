package rest

import (
	"context"
	"log/slog"
	"net"
	"time"

	"pai.dev/pai/internal/tlsserver"
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

// Run serves on a listener until the context ends, drains, and returns.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	srv := tlsserver.New(s.CertDir, s.Drain, s.Log)
	s.Handler.Draining, s.Handler.Ended = srv.Draining, srv.Ended()
	return srv.Run(ctx, l, s.Handler.Routes())
}
