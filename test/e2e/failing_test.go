//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"
)

// failingJob has a task that fails by itself during the upgrade.
const failingJob = "fails"

// applyWhileATaskFails applies the saved plan, and lets the task of the failing job end in
// the step that brings programs to its machine. That step can end no container, so the task
// ended by itself. It returns the stream of events.
func (s *upgradeStory) applyWhileATaskFails(args ...string) string {
	s.t.Helper()
	step := "kubernetes/" + newerKubernetes + "/machine/pai-1/programs"
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Minute)
	defer cancel()
	cmd := s.command(ctx, append([]string{"upgrade", "apply", "--yes", "-o", "json"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	var stream strings.Builder
	ended, errs := false, []error(nil)
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		stream.WriteString(lines.Text() + "\n")
		var event struct {
			Kind string
			Step struct{ ID string }
		}
		errs = append(errs, json.Unmarshal(lines.Bytes(), &event))
		if event.Kind == "step-started" && event.Step.ID == step {
			ended, errs = true, append(errs, s.endFailingTask(ctx))
		}
	}
	if err := errors.Join(append(errs, lines.Err(), cmd.Wait())...); err != nil {
		s.t.Fatalf("%v\n%s", err, stderr.String())
	}
	if !ended {
		s.t.Fatalf("no event says that step %s started:\n%s", step, stream.String())
	}
	return stream.String()
}

func (s *upgradeStory) endFailingTask(ctx context.Context) error {
	var errs []error
	for _, c := range s.containers {
		if c.Job == failingJob {
			_, err := s.try(ctx, nil, "machine", "shell", "pai-1", "--", kubectl+"exec -n pai-vc-default "+c.Pod+" -- touch /tmp/soon")
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
