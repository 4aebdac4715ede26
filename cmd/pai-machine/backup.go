package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"pai.dev/pai/internal/release"
	"pai.dev/pai/internal/scheduledbackup"
	"pai.dev/pai/releases"
)

// backUp makes a scheduled backup.
func backUp(ctx context.Context) error {
	known, err := release.Load(releases.FS)
	if err != nil {
		return err
	}
	return scheduledbackup.Run(ctx, scheduledbackup.Machine{
		Root: "/", Version: string(known[len(known)-1].Metadata.Name), Now: time.Now, Log: journal(), Run: run, Script: script,
	})
}

// script runs a shell script as paictl does over ssh: it can make $SCRATCH a link to a
// directory, which is removed with it. When the context ends, all its processes do.
func script(ctx context.Context, text string, stdout io.Writer) error {
	dir, err := os.MkdirTemp("", "pai-backup-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	scratch := filepath.Join(dir, "scratch")
	defer func() {
		if target, err := os.Readlink(scratch); err == nil {
			_ = os.RemoveAll(target) // the next backup removes it as well
		}
	}()
	var errs tail
	cmd := exec.CommandContext(ctx, "/bin/sh", "-euc", text)
	cmd.Stdout, cmd.Stderr = stdout, &errs
	cmd.Env = append(os.Environ(), "LC_ALL=C", "SCRATCH="+scratch)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(errs)))
	}
	return nil
}

// tail keeps the end of an output.
type tail []byte

func (t *tail) Write(p []byte) (int, error) {
	const limit = 500
	*t = append(*t, p...)
	*t = (*t)[max(0, len(*t)-limit):]
	return len(p), nil
}
