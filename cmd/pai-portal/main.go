// Command pai-portal serves the web portal of PAI. It runs in the cluster and speaks only
// to the REST server.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/portal"
	"pai.dev/pai/internal/tlsserver"
	"pai.dev/pai/web"
)

type options struct {
	listen        string
	certDir       string
	rest          string
	restAuthority string // a file
	sessionKey    string // a file
	drain         time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.listen, "listen", ":9443", "address to listen on")
	flag.StringVar(&o.certDir, "cert-dir", layout.ConfigDir+"/tls", "directory of tls.crt and tls.key")
	flag.StringVar(&o.rest, "rest-server", "https://rest-server.pai-system.svc", "address of the REST server")
	flag.StringVar(&o.restAuthority, "rest-server-ca", layout.ConfigDir+"/rest-server/ca.crt", "file with the certificate of the authority of the REST server")
	flag.StringVar(&o.sessionKey, "session-key", layout.ConfigDir+"/session/key", "file with the key that seals sessions")
	flag.DurationVar(&o.drain, "drain", 5*time.Second, "how long the server accepts requests after the signal to end")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := serve(ctx, o, log); err != nil {
		fmt.Fprintln(os.Stderr, "pai-portal:", err)
		os.Exit(1)
	}
}

func serve(ctx context.Context, o options, log *slog.Logger) error {
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected arguments %q: pai-portal takes only flags; see --help", flag.Args())
	}
	rest, err := url.Parse(o.rest)
	if err != nil || rest.Scheme != "https" || rest.Host == "" || rest.Path != "" {
		return fmt.Errorf("--rest-server must be https://HOST[:PORT], not %q", o.rest)
	}
	srv := tlsserver.New(o.certDir, o.drain, log)
	handler := &portal.Handler{
		REST: rest, Transport: portal.NewTransport(o.restAuthority), Keys: &portal.Keys{File: o.sessionKey}, Dist: web.Dist(),
		Log: log, Draining: srv.Draining, Ended: srv.Ended(),
	}
	routes, err := handler.Routes()
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", o.listen)
	if err != nil {
		return err
	}
	log.Info("listening", "address", o.listen, "rest-server", o.rest)
	return srv.Run(ctx, listener, routes)
}
