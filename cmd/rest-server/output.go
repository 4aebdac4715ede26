package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/tasklog"
)

// The program has two more commands, for the pods that read the output of tasks on each
// machine.
const (
	outputCommand = "output"      // writes the output that a request in JSON names
	waitCommand   = "output-wait" // keeps the container in which the other one runs
)

// runOutput runs a command of the pods that read output. It reports false for any other one.
func runOutput(ctx context.Context, args []string, w io.Writer) (bool, error) {
	switch {
	case len(args) == 1 && args[0] == waitCommand:
		<-ctx.Done()
		return true, nil
	case len(args) > 0 && args[0] == outputCommand:
		if len(args) != 2 {
			return true, errors.New("output needs one argument, the request")
		}
		var r tasklog.Request
		if err := json.Unmarshal([]byte(args[1]), &r); err != nil {
			return true, fmt.Errorf("read the request: %w", err)
		}
		return true, tasklog.Read(layout.PodLogs, r, w)
	}
	return false, nil
}
