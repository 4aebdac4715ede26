package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// interrupts makes the first Ctrl-C, or the end of the terminal, a stop at the next safe
// point. Another Ctrl-C, or a SIGTERM, cancels the context. An operation does not end with
// what reads its output: it would end in the middle of a step, without a record.
func interrupts(ctx context.Context, env *Env) (context.Context, <-chan struct{}, func()) {
	return interruptsAnd(ctx, env, !signal.Ignored(syscall.SIGHUP)) // nohup ignores it
}

// interruptsAnd is interrupts, with or without the end of the terminal.
func interruptsAnd(ctx context.Context, env *Env, hangup bool) (context.Context, <-chan struct{}, func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if hangup {
		signal.Notify(signals, syscall.SIGHUP)
	}
	signal.Ignore(syscall.SIGPIPE) // writes return an error instead
	safeStop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		for stopping := false; ; stopping = true {
			var got os.Signal
			select {
			case got = <-signals:
			case <-ended:
				return
			}
			switch {
			case got == syscall.SIGTERM || got == os.Interrupt && stopping:
				cancel()
				return
			case stopping:
			case got == os.Interrupt:
				env.Progressf("stopping at the next safe point; press Ctrl-C again to stop now")
				close(safeStop)
			default:
				env.Progressf("the terminal was closed: stopping at the next safe point")
				close(safeStop)
			}
		}
	}()
	return ctx, safeStop, func() {
		signal.Stop(signals)
		signal.Reset(syscall.SIGPIPE)
		close(ended)
		cancel()
	}
}
