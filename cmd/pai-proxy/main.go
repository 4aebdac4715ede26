// Command pai-proxy gives the Kubernetes API one stable address on a machine.
// It listens on the loopback address and forwards connections to a ready API
// server. It asks every API server for /readyz, sends no new connections to one
// that drains or is not ready, and lets them wait while none is ready.
//
// To the proxy, Kubernetes is a TLS server with a /readyz endpoint. Besides
// package layout, it uses only the standard library.
package main

import (
	"context"
	"flag"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"pai.dev/pai/internal/layout"
)

// reloadInterval is the pause between two reads of the configuration.
const reloadInterval = 200 * time.Millisecond

func main() {
	path := flag.String("config", layout.APIProxyFile, "configuration `file`, reloaded when it changes")
	flag.Parse()
	log.SetFlags(0) // the journal keeps the time
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)

	p := newProxy(defaultTimings())
	watchConfig(ctx, *path, hangup, p.apply)
	p.close()
}

// watchConfig calls apply with the configuration, and again after each change,
// until ctx ends. It logs an invalid configuration and keeps the last valid one.
func watchConfig(ctx context.Context, path string, hangup <-chan os.Signal, apply func(config)) {
	tick := time.NewTicker(reloadInterval)
	defer tick.Stop()
	var applied, reported string
	for {
		c, seen, err := loadConfig(path)
		switch {
		case err != nil && err.Error() != reported:
			reported = err.Error()
			log.Printf("configuration not used: %v", err)
		case err == nil && seen != applied:
			applied, reported = seen, ""
			apply(c)
		}
		select {
		case <-ctx.Done():
			return
		case <-hangup:
			applied = ""
		case <-tick.C:
		}
	}
}
