// Command pai-machine is PAI's helper on a machine: it reads a request on standard
// input and reports what the machine is and has. paictl copies it there.
//
//	pai-machine                answers one request
//	pai-machine certificates   renews and approves certificates, and restores the lines
//	                           of PAI in /etc/hosts, until it is stopped
//	pai-machine backup         backs up the control plane, if that is configured
//	pai-machine storage        tries a storage, in a mount namespace for it alone
//	pai-machine etcd-… SLOT    answers a question about the etcd of this machine: whether
//	                           it can stop, and whether it serves; or moves its leadership
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"pai.dev/pai/internal/certs"
	"pai.dev/pai/internal/hostsfile"
	"pai.dev/pai/internal/inspect"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	var err error
	switch args := os.Args[1:]; {
	case len(args) == 0:
		err = answer(ctx, os.Stdin, os.Stdout)
	case len(args) == 1 && args[0] == certificates:
		keep(ctx)
	case len(args) == 1 && args[0] == backup:
		err = backUp(ctx)
	case len(args) == 1 && args[0] == storage:
		err = tryStorage(ctx, os.Stdin, os.Stdout)
	case len(args) == 2 && isEtcdQuestion(args[0]):
		err = askEtcd(ctx, args[0], args[1])
	default:
		err = fmt.Errorf("unknown arguments %q", args)
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "pai-machine:", err)
		os.Exit(1)
	}
}

// The arguments that units pass.
const certificates, backup = "certificates", "backup"

// keep ends when its unit is removed, which certs.Keep notices.
func keep(ctx context.Context) {
	ctx, stop := context.WithCancel(ctx)
	hosts := &hostsfile.Keeper{Root: "/", Every: hostsfile.Every, Log: journal()}
	var names sync.WaitGroup
	names.Go(func() { hosts.Keep(ctx) })
	certs.Keep(ctx, certs.Store{Root: "/", Now: time.Now, Run: run, Log: journal()})
	stop()
	names.Wait()
}

// journal logs to standard error. The journal has the time of each line.
func journal() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{ReplaceAttr: withoutTime}))
}

func withoutTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

func answer(ctx context.Context, in io.Reader, out io.Writer) error {
	self, err := inspect.Self()
	if err != nil {
		return fmt.Errorf("read this program: %w", err)
	}
	m := inspect.Machine{Root: "/", Run: run}
	return inspect.Answer(in, out, func(r inspect.Request) inspect.Report { return m.Inspect(ctx, r, self) })
}

// programTimeout limits a program that the report needs.
const programTimeout = 20 * time.Second

// run runs a program. Its error has the end of what the program said.
func run(ctx context.Context, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, programTimeout, fmt.Errorf("no answer within %s", programTimeout))
	defer cancel()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		said := strings.TrimSpace(errs.String())
		err = fmt.Errorf("%s: %w: %s", name, err, said[max(0, len(said)-500):])
	}
	return out.String(), err
}
