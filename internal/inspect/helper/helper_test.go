package helper_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	"pai.dev/pai/internal/fence"
	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/inspect/helper"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/test/inspecttest"
)

// remote is a machine whose answers a test writes.
type remote struct {
	machine.Host
	run     func(c machine.Command) (string, error)
	scripts []string
	written map[string]fs.FileMode
}

func (h *remote) Name() string { return "gpu-01" }

func (h *remote) Run(_ context.Context, c machine.Command) (machine.Output, error) {
	h.scripts = append(h.scripts, c.Script)
	out, err := h.run(c)
	if c.Stdout != nil {
		if _, err := c.Stdout.Write([]byte(out)); err != nil {
			return machine.Output{}, err
		}
		out = ""
	}
	return machine.Output{Stdout: out}, err
}

func (h *remote) WriteFile(_ context.Context, path string, _ []byte, mode fs.FileMode) error {
	h.written[path] = mode
	return nil
}

func TestHelperIsAskedWithOneCommand(t *testing.T) {
	t.Parallel()
	h := inspecttest.NewHost(t, "gpu-01")
	got, err := helper.Inspect(t.Context(), h, inspect.Request{Parts: []inspect.Part{inspect.Facts}})
	if err != nil || got.Facts == nil || len(h.Scripts) > 0 {
		t.Errorf("got %+v, %v after %v, want the facts", got, err, h.Scripts)
	}
}

func TestHelperIsDeliveredOnce(t *testing.T) {
	t.Parallel()
	if strings.Trim(helper.Digest(), "0") == "" {
		t.Skip("this test was built without the program; run: make build")
	}
	there, delivered := false, false
	h := &remote{written: map[string]fs.FileMode{}}
	h.run = func(c machine.Command) (string, error) {
		if c.Script == "uname -m" {
			there = true
			return "x86_64\n", nil
		}
		if !there {
			return "", inspecttest.NotFound("gpu-01", c)
		}
		_, err := inspecttest.AnswerWith(c, func(r inspect.Request) inspect.Report {
			delivered = r.Delivered
			return inspect.Report{}
		})
		return "", err
	}
	for range 2 {
		if _, err := helper.Inspect(t.Context(), h, inspect.Request{}); err != nil {
			t.Fatal(err)
		}
	}
	if len(h.written) != 1 || h.written[layout.Helper(helper.Digest())] != 0o755 {
		t.Errorf("got files %v, want the helper with mode 0755", h.written)
	}
	if len(h.scripts) != 4 || delivered {
		t.Errorf("got commands %q and delivered %v, want four and a last request to a helper that was there", h.scripts, delivered)
	}
}

func TestInspectErrorsNameMachineAndCause(t *testing.T) {
	t.Parallel()
	exit := func(c machine.Command, code int) error {
		return &machine.CommandError{Host: "gpu-01", Script: c.Script, Code: code, Output: "sh: exec: it says why"}
	}
	frame := func(c machine.Command, program string) (out string) {
		var b strings.Builder
		if err := inspect.Answer(c.Stdin, &b, func(inspect.Request) inspect.Report { return inspect.Report{Program: program} }); err != nil {
			t.Error(err)
		}
		return b.String()
	}
	for _, c := range []struct {
		name string
		run  func(c machine.Command) (string, error)
		want string
	}{
		{"connection lost", func(machine.Command) (string, error) { return "", fmt.Errorf("gpu-01: %w", machine.ErrConnectionLost) }, "connection"},
		{"noexec", func(c machine.Command) (string, error) { return "", exit(c, 126) }, "cannot run " + layout.Helper(helper.Digest())},
		{"the program failed", func(c machine.Command) (string, error) { return "", exit(c, 1) }, "it says why"},
		{"only a greeting", func(machine.Command) (string, error) { return "Welcome\n", nil }, "no answer"},
		{"a torn answer", func(c machine.Command) (string, error) {
			return strings.TrimSuffix(frame(c, helper.Digest()), "}\n"), nil
		}, "incomplete"},
		{"an answer that is too long", func(c machine.Command) (string, error) {
			return frame(c, helper.Digest()) + strings.Repeat("x", inspect.MaxAnswer+1<<17), nil
		}, "more than"},
		{"another architecture", func(c machine.Command) (string, error) {
			if c.Script == "uname -m" {
				return "riscv64\n", nil
			}
			return "", exit(c, 127)
		}, "riscv64"},
		{"another program in its place", func(c machine.Command) (string, error) {
			if c.Script == "uname -m" {
				return "x86_64\n", nil
			}
			return frame(c, "other"), nil
		}, "another program"},
	} {
		h := &remote{written: map[string]fs.FileMode{}, run: c.run}
		got, err := helper.Inspect(t.Context(), h, inspect.Request{})
		switch {
		case err != nil && strings.Trim(helper.Digest(), "0") == "" && strings.Contains(err.Error(), "is not part of this paictl"):
			continue // it stops before the delivery
		case err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "gpu-01"):
			t.Errorf("%s: got %+v, %v, want an error with the machine and %q", c.name, got, err, c.want)
		}
	}
	h := &remote{run: func(machine.Command) (string, error) { return "", context.Canceled }}
	if _, err := helper.Inspect(t.Context(), h, inspect.Request{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the end of the context", err)
	}
}

// A needed part that is neither in the answer nor explained is an error.
func TestAbsentPartsAreErrors(t *testing.T) {
	t.Parallel()
	h := &remote{}
	h.run = func(c machine.Command) (string, error) {
		_, err := inspecttest.AnswerWith(c, func(inspect.Request) inspect.Report { return inspect.Report{} })
		return "", err
	}
	for _, p := range []inspect.Part{inspect.Prepared, inspect.Images, inspect.Facts, inspect.Containers, inspect.PausesOf,
		inspect.Runtime, inspect.HardwareOf, inspect.ConditionOf, inspect.Operator} {
		if _, err := helper.Parts(t.Context(), h, p); err == nil || !strings.Contains(err.Error(), `"gpu-01": `+string(p)+": ") {
			t.Errorf("%s: got %v, want the part that is absent", p, err)
		}
	}
	if _, err := helper.Parts(t.Context(), h, inspect.Programs, inspect.Roles, inspect.Shims, inspect.Certificates); err != nil {
		t.Errorf("got %v, want lists that can be empty", err)
	}
}

// An operation that has lost the lock still observes what happened to the jobs, and copies
// no program to a machine.
func TestObservationNeedsNoLock(t *testing.T) {
	t.Parallel()
	lost := errors.New("the lock is lost")
	ctx := fence.With(t.Context(), fence.Fence{Token: "TOKEN", Held: func() error { return lost }})
	var asked []error
	h := &fencedHost{Host: inspecttest.NewHost(t, "gpu-01"), asked: &asked}
	if got, err := helper.Inspect(ctx, h, inspect.Request{Parts: []inspect.Part{inspect.Facts}}); err != nil || got.Facts == nil || len(asked) != 1 || asked[0] != nil {
		t.Errorf("got %+v, %v, and the fence said %v", got, err, asked)
	}
	if _, err := helper.Inspect(ctx, h, inspect.Request{Parts: []inspect.Part{inspect.Facts}, Delivered: true}); !errors.Is(err, lost) {
		t.Errorf("got %v, want %v", err, lost)
	}
}

// An operation that has lost the lock changes nothing with the helper.
func TestChangingRequestsNeedTheLock(t *testing.T) {
	t.Parallel()
	lost := errors.New("the lock is lost")
	ctx := fence.With(t.Context(), fence.Fence{Token: "TOKEN", Held: func() error { return lost }})
	for _, r := range []inspect.Request{
		{Parts: []inspect.Part{inspect.Directories}, Remove: []string{"v0.9-pai"}},
		{Parts: []inspect.Part{inspect.Certificates}, Renew: inspect.RenewDue},
		{Parts: []inspect.Part{inspect.Certificates}, Renew: inspect.RenewAll},
		{Parts: []inspect.Part{inspect.Backups}, MakeBackupKey: true},
		{Parts: []inspect.Part{inspect.Facts}, Delivered: true},
	} {
		made := inspecttest.NewHost(t, "gpu-01")
		made.Write(layout.VersionDir("v0.9-pai")+"/release.json", "{}")
		var asked []error
		if _, err := helper.Inspect(ctx, &fencedHost{Host: made, asked: &asked}, r); !errors.Is(err, lost) {
			t.Errorf("%+v: got %v, want %v", r, err, lost)
		}
		if _, err := os.Stat(made.At(layout.VersionDir("v0.9-pai"))); err != nil {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

// fencedHost asks the fence before each command, as a machine that is reached over ssh.
type fencedHost struct {
	machine.Host
	asked *[]error
}

func (h *fencedHost) Run(ctx context.Context, c machine.Command) (machine.Output, error) {
	err := fence.Check(ctx)
	*h.asked = append(*h.asked, err)
	if err != nil {
		return machine.Output{}, err
	}
	return h.Host.Run(ctx, c)
}
