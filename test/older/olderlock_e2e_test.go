//go:build e2e

package older

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/test/runtest"
)

// olderAcquire is a program that takes and releases the lock with the code of
// commit c82e023.
const olderAcquire = `package main

import (
	"context"
	"fmt"
	"os"

	"pai.dev/pai/internal/run"
	"pai.dev/pai/internal/run/runtest"
)

func main() {
	h, err := run.ThisProcess("v0.10", "upgrade")
	if err == nil {
		var l *run.Lock
		if l, err = run.Acquire(context.Background(), runtest.Dir(os.Args[1]), h, run.LockOptions{}); err == nil {
			err = l.Release(context.Background())
		}
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
`

// Every command of paictl of c82e023 that changes a cluster takes the lock first.
func TestOlderPaictlIsRefusedTheLockOfANewerCluster(t *testing.T) {
	tree := t.TempDir()
	if out, err := exec.Command("bash", "-euo", "pipefail", "-c", "git -C ../.. archive c82e023 go.mod go.sum internal | tar -x -C "+tree).CombinedOutput(); err != nil {
		t.Fatalf("sources of commit c82e023: %v\n%s; if the history is missing, run: git fetch --unshallow", err, out)
	}
	main := filepath.Join(tree, "cmd", "acquire", "main.go")
	if err := os.MkdirAll(filepath.Dir(main), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(main, []byte(olderAcquire), 0o644); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(tree, "acquire")
	build := exec.Command("go", "build", "-o", program, "./cmd/acquire")
	build.Dir = tree
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}

	dir := t.TempDir()
	older := func() (string, error) {
		out, err := exec.Command(program, dir).CombinedOutput()
		return string(out), err
	}
	operate := func(o run.LockOptions) *run.Lock {
		t.Helper()
		h, err := run.ThisProcess("v0.11", pai.VerbUpgrade)
		if err != nil {
			t.Fatal(err)
		}
		l, err := run.Acquire(context.Background(), runtest.Dir(dir), h, o)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	release := func(l *run.Lock) {
		t.Helper()
		if err := l.Release(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(when string) {
		t.Helper()
		if out, err := older(); err == nil || !strings.Contains(out, "this cluster needs paictl v0.11 or newer") {
			t.Errorf("%s: the older paictl ended with %v:\n%s", when, err, out)
		}
	}
	if out, err := older(); err != nil {
		t.Fatalf("the older paictl on its own cluster: %v\n%s", err, out)
	}
	release(operate(run.LockOptions{Needs: "v0.10", AllKnown: true}))
	if out, err := older(); err != nil {
		t.Errorf("the older paictl after a newer one that upgraded nothing: %v\n%s", err, out)
	}
	upgrade := operate(run.LockOptions{Needs: "v0.11", AllKnown: true})
	refused("during the upgrade")
	release(upgrade)
	refused("after the upgrade")
	release(operate(run.LockOptions{}))
	refused("after a push")
	release(operate(run.LockOptions{Needs: "v0.10", AllKnown: true}))
	if out, err := older(); err != nil {
		t.Errorf("the older paictl after a rollback: %v\n%s", err, out)
	}
}
