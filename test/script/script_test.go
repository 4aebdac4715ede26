// Package script runs paictl like its users, with the scripts in testdata. It
// covers what needs no machine: usage, output formats, exit codes, messages.
package script

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"pai.dev/pai/internal/cli"
	"pai.dev/pai/internal/golden"
)

// The test program is also paictl: the scripts start it under that name.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"paictl": func() {
		env, err := cli.DefaultEnv()
		if err != nil {
			panic(err)
		}
		os.Exit(cli.Main(context.Background(), env, os.Args[1:]))
	}})
}

func TestScripts(t *testing.T) {
	repository, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("PAI_STATE_DIR", filepath.Join(e.WorkDir, "state"))
			e.Setenv("PAI_CACHE_DIR", filepath.Join(e.WorkDir, "cache"))
			e.Setenv("REPOSITORY", repository)
			return nil
		},
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"ends": ends},
		RequireExplicitExec: true,
		UpdateScripts:       golden.Updating(),
	})
}

// ends runs a command and requires an exit code: `ends 2 paictl nonsense`. The
// commands stdout and stderr examine its output, which never has a stack trace.
func ends(ts *testscript.TestScript, negated bool, args []string) {
	if negated || len(args) < 2 {
		ts.Fatalf("usage: ends CODE COMMAND ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	code := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		code = exit.ExitCode()
	}
	stderr := ts.ReadFile("stderr")
	if strings.Contains(stderr, "goroutine ") || strings.Contains(stderr, "panic:") {
		ts.Fatalf("a stack trace:\n%s", stderr)
	}
	if code != want {
		ts.Fatalf("%s: got exit code %d, want %d; stderr:\n%s", strings.Join(args[1:], " "), code, want, stderr)
	}
}
