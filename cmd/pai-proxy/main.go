// Command pai-proxy gives the Kubernetes API one stable address on a machine:
// it listens on the loopback and hands connections to an API server that is
// ready. It asks every API server for /readyz, moves new connections away from
// one that is draining or not ready, and makes them wait while none is.
//
// It may not know Kubernetes other than as a TLS server with a /readyz, and
// uses the standard library only.
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

// reloadInterval is how often the configuration is looked at for a change.
const reloadInterval = 200 * time.Millisecond

func main() {
	path := flag.String("config", layout.APIProxyFile, "configuration file; a change takes effect at once")
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

// watchConfig calls apply with the configuration, and again whenever it has
// changed, until ctx ends. A configuration that cannot be used is reported and
// leaves the last one in force.
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
