// Package inspecttest answers requests to PAI's helper for machines that are made
// up in tests.
package inspecttest

import (
	"bytes"
	"context"
	"strings"

	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/inspect/helper"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
)

// Answer answers a command, if it runs the helper, with the report of a machine.
func Answer(ctx context.Context, m inspect.Machine, c machine.Command) (answered bool, err error) {
	return AnswerWith(c, func(r inspect.Request) inspect.Report { return m.Inspect(ctx, r, helper.Digest()) })
}

// AnswerWith answers a command, if it runs the helper, with a made-up report.
func AnswerWith(c machine.Command, fill func(inspect.Request) inspect.Report) (answered bool, err error) {
	if c.Script != "exec "+layout.Helper(helper.Digest()) {
		return false, nil
	}
	var out bytes.Buffer
	err = inspect.Answer(c.Stdin, &out, func(r inspect.Request) inspect.Report {
		report := fill(r)
		report.Program = helper.Digest()
		return report
	})
	if err == nil {
		_, err = c.Stdout.Write(out.Bytes())
	}
	return true, err
}

// NotFound is how a machine answers that has no helper.
func NotFound(host string, c machine.Command) error {
	return &machine.CommandError{Host: host, Script: c.Script, Code: 127, Output: "sh: exec: " + strings.TrimPrefix(c.Script, "exec ") + ": not found"}
}
