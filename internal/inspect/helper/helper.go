// Package helper asks PAI's helper on a machine, pai-machine, for a report, and
// copies the helper to the machine if it is not there. paictl carries the helper:
// both have one version.
package helper

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"

	"pai.dev/pai/internal/fence"
	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
)

// Inspect asks a machine for a report. It returns an error if a needed part is
// unknown. For the others, the report has problems.
func Inspect(ctx context.Context, host machine.Host, r inspect.Request, needed ...inspect.Part) (inspect.Report, error) {
	report, err := ask(ctx, host, r)
	if errors.Is(err, errNoHelper) {
		if err = deliver(ctx, host); err == nil {
			r.Delivered = true
			report, err = ask(ctx, host, r)
		}
	}
	for _, p := range needed {
		if err == nil {
			if err = report.Needs(p); err != nil {
				err = fmt.Errorf("%s: %w", p, err)
			}
		}
	}
	if err != nil {
		return inspect.Report{}, fmt.Errorf("inspect machine %q: %w", host.Name(), err)
	}
	return report, nil
}

// Parts asks a machine for parts of a report. It needs them all.
func Parts(ctx context.Context, host machine.Host, parts ...inspect.Part) (inspect.Report, error) {
	return Inspect(ctx, host, inspect.Request{Parts: parts}, parts...)
}

// errNoHelper: the helper is not there, or another program is in its place.
var errNoHelper = errors.New("the helper is not on the machine")

// Exit codes of the shell for a program that does not exist, and for one that
// cannot be run.
const (
	codeNotFound = 127
	codeNotRun   = 126
)

func ask(ctx context.Context, host machine.Host, r inspect.Request) (inspect.Report, error) {
	if r.Observes() {
		ctx = fence.Without(ctx)
	}
	r.Token = rand.Text()
	request, err := json.Marshal(r)
	if err != nil {
		return inspect.Report{}, err
	}
	program := layout.Helper(Digest())
	answer := &limited{left: inspect.MaxAnswer + 1<<16}
	_, err = host.Run(ctx, machine.Command{Script: "exec " + program, Stdin: bytes.NewReader(request), Stdout: answer})
	if failed := new(machine.CommandError); errors.As(err, &failed) {
		switch failed.Code {
		case codeNotFound:
			return inspect.Report{}, fmt.Errorf("%w: %w", errNoHelper, err)
		case codeNotRun:
			return inspect.Report{}, pai.Errorf(pai.CodeFailed, "remount the file system of "+layout.ProgramsDir+" without noexec",
				"the machine cannot run %s: %w", program, err)
		}
	}
	if err != nil {
		return inspect.Report{}, err
	}
	if answer.left <= 0 {
		return inspect.Report{}, fmt.Errorf("the answer has more than %d bytes", inspect.MaxAnswer)
	}
	report, err := inspect.ReadAnswer(answer.Bytes(), r.Token)
	if err != nil {
		return report, pai.Errorf(pai.CodeFailed, "run the command again", "%s: %w", program, err)
	}
	if report.Program != Digest() {
		return report, fmt.Errorf("%w: another program, with the sha256 %q, is in the place of %s", errNoHelper, report.Program, program)
	}
	return report, nil
}

// limited keeps the start of an output. It reads on, so that the machine does not
// wait.
type limited struct {
	bytes.Buffer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	l.Buffer.Write(p[:min(len(p), max(l.left, 0))])
	l.left -= len(p)
	return len(p), nil
}

// deliver copies the helper to a machine.
func deliver(ctx context.Context, host machine.Host) error {
	program, err := carried()
	if err != nil {
		return err
	}
	out, err := host.Run(ctx, machine.Command{Script: "uname -m"})
	if err != nil {
		return fmt.Errorf("read its architecture: %w", err)
	}
	want, err := machineArch(runtime.GOARCH)
	if err != nil {
		return err
	}
	if got := strings.TrimSpace(out.Stdout); got != want {
		return pai.Errorf(pai.CodeFailed, "use a machine of that architecture, or a paictl that was built for "+got,
			"the machine has the architecture %s, not that of this paictl, %s", got, want)
	}
	if err := host.WriteFile(ctx, layout.Helper(Digest()), program, 0o755); err != nil {
		return fmt.Errorf("copy the helper to it: %w", err)
	}
	return nil
}
