// Command pai-proxy gives the Kubernetes API one stable address on a machine.
// It listens on the loopback address and forwards connections to a ready API
// server. It asks every API server for /readyz, sends no new connections to one
// that drains or is not ready, and lets them wait while none is ready. It limits the
// connections of each address that is not on this machine.
//
// With several control-plane machines, it prefers an API server of this machine, and
// otherwise connects to the proxies of other machines, which reach only theirs.
//
// With -hold it keeps the addresses while its unit restarts: it accepts no
// connection, and passes the listeners to the proxy that starts.
//
// To the proxy, Kubernetes is a TLS server with a /readyz endpoint.
package main

import (
	"context"
	"flag"
	"log"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"pai.dev/pai/internal/layout"
)

// reloadInterval is the pause between two reads of the configuration.
const reloadInterval = 200 * time.Millisecond

func main() {
	path := flag.String("config", layout.APIProxyFile, "configuration `file`, reloaded when it changes")
	holdFor := flag.Duration("hold", 0, "hold the addresses for the next proxy, for at most this `duration`")
	flag.Parse()
	log.SetFlags(0) // the journal keeps the time
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *holdFor > 0 {
		if err := holdConfigured(ctx, *path, *holdFor); err != nil {
			log.Fatal(err)
		}
		return
	}
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)

	held, err := take(ctx, layout.APIProxyListeners)
	if err != nil {
		log.Printf("take the listeners that are held: %v", err)
	}
	p := newProxy(defaultTimings(), held)
	watchConfig(ctx, *path, hangup, p.apply)
	p.close()
}

// holdConfigured holds the addresses of the configuration, and notifies systemd when a
// proxy can ask for them.
func holdConfigured(ctx context.Context, path string, limit time.Duration) error {
	c, _, err := loadConfig(path)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	addresses := append(slices.Clone(c.Listen), listening(ctx, c.Serve)...)
	return hold(ctx, addresses, layout.APIProxyListeners, func() {
		if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
			log.Printf("notify systemd: %v", err)
		}
	})
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
