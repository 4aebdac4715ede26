package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// interrupts makes the first Ctrl-C a stop at the next safe point. The second
// one, or a SIGTERM, cancels the context.
func interrupts(ctx context.Context, env *Env) (context.Context, <-chan struct{}, func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	safeStop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		for n := 0; ; n++ {
			var got os.Signal
			select {
			case got = <-signals:
			case <-ended:
				return
			}
			if n == 0 && got == os.Interrupt {
				env.Progressf("stopping at the next safe point; press Ctrl-C again to stop now")
				close(safeStop)
				continue
			}
			cancel()
			return
		}
	}()
	return ctx, safeStop, func() {
		signal.Stop(signals)
		close(ended)
		cancel()
	}
}
