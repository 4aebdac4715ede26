package atomicfile_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"

	"pai.dev/pai/internal/atomicfile"
)

// TestWrittenProgramRuns writes and runs programs while other commands start.
func TestWrittenProgramRuns(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	var others sync.WaitGroup
	defer others.Wait()
	defer stop()
	for range 8 {
		others.Go(func() {
			for ctx.Err() == nil {
				if err := exec.CommandContext(ctx, "true").Run(); err != nil && ctx.Err() == nil {
					t.Errorf("start another command: %v", err)
					return
				}
			}
		})
	}
	for i := range 200 {
		file := filepath.Join(t.TempDir(), strconv.Itoa(i))
		err := atomicfile.WithoutForks(func() error { return os.WriteFile(file, []byte("#!/bin/sh\nexit 0\n"), 0o700) })
		if err != nil {
			t.Fatal(err)
		}
		err = exec.CommandContext(ctx, file).Run()
		if errors.Is(err, syscall.ETXTBSY) {
			t.Fatalf("the program of round %d: %v", i, err)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
