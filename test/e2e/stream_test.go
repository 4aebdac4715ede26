//go:build e2e

package e2e

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
)

// checkStream reads what an operation prints with -o json as a program would, and
// returns its record.
func checkStream(t *testing.T, out string) operation {
	t.Helper()
	seen := map[string]int{}
	var last struct {
		Kind      string
		Operation operation
	}
	for line := range strings.Lines(out) {
		last.Kind, last.Operation = "", operation{}
		if err := json.Unmarshal([]byte(line), &last); err != nil || last.Kind == "" {
			t.Fatalf("a line is no event (%v): %s", err, line)
		}
		seen[last.Kind]++
	}
	if seen["plan"] != 1 || seen["operation"] != 1 || seen["step-started"] == 0 || seen["step-started"] != seen["step-ended"] || seen["watching"] == 0 {
		t.Errorf("events: %v", seen)
	}
	if last.Kind != "operation" || last.Operation.Outcome != "succeeded" {
		t.Errorf("the last line is %+v", last)
	}
	return last.Operation
}

func exitCode(err error) int {
	for err != nil {
		if e, ok := err.(*exec.ExitError); ok {
			return e.ExitCode()
		}
		u, ok := err.(interface{ Unwrap() error })
		if !ok {
			return -1
		}
		err = u.Unwrap()
	}
	return 0
}
