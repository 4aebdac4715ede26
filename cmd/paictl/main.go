// Command paictl builds, runs and upgrades PAI.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"pai.dev/pai/internal/cli"
)

func main() {
	env, err := cli.DefaultEnv()
	if err != nil {
		fmt.Fprintln(os.Stderr, "paictl:", err)
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Main(ctx, env, os.Args[1:])
	stop()
	os.Exit(code)
}
