package inspect_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/test/inspecttest"
)

const podLog = layout.PodLogs + "/pai-vc-default_train-0_u-1/main/"

func clock() time.Time { return time.Date(2026, 11, 26, 8, 0, 0, 0, time.FixedZone("", 3600)) }

// writing is a machine with one running container of a job.
func writing(t *testing.T) *inspecttest.Root {
	t.Helper()
	r := inspecttest.NewRoot(t)
	shims(r, "c1", 11, "c1", specification("container", "main"))
	return r
}

// lines are the lines of a log, written so many seconds ago.
func lines(ago ...float64) string {
	var b strings.Builder
	for _, s := range ago {
		fmt.Fprintf(&b, "%s stdout F step\n", clock().Add(-seconds(s)).Format(time.RFC3339Nano))
	}
	return b.String()
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// pausesSince asks for the pauses around the moment that was so many seconds ago.
func pausesSince(t *testing.T, r *inspecttest.Root, ago float64) inspect.Report {
	t.Helper()
	m := r.Machine()
	m.Now = clock
	return m.Inspect(t.Context(), inspect.Request{Parts: []inspect.Part{inspect.PausesOf}, Age: seconds(ago)}, "self")
}

func TestPauses(t *testing.T) {
	t.Parallel()
	longAgo := inspect.PausesBefore.Seconds() + 500
	for name, c := range map[string]struct {
		files                   map[string]string
		before, after, observed float64 // in seconds; before is -1 for unknown
	}{
		"in one file": {map[string]string{"0.log": lines(110, 107, 106, 90, 88, 1)}, 3, 87, 110},
		// The one that lasts at the moment counts as after it.
		"across the moment":                 {map[string]string{"0.log": lines(200, 199, 60, 59)}, 1, 139, 200},
		"that still lasts":                  {map[string]string{"0.log": lines(200, 150)}, 50, 150, 200},
		"of one line":                       {map[string]string{"0.log": lines(130)}, -1, 130, 130},
		"after the moment only":             {map[string]string{"0.log": lines(50, 45)}, -1, 45, 50},
		"of a restarted container":          {map[string]string{"0.log": lines(500, 105), "1.log": lines(104, 103, 2), "10.log": lines(103, 101, 1)}, 2, 100, 103},
		"across a rotation":                 {map[string]string{"0.log.20261126-080000": lines(120, 115), "0.log": lines(113, 99, 1)}, 5, 98, 120},
		"beside compressed and other files": {map[string]string{"0.log.20261126-070000.gz": "x", "0.log.20261126-080000.tmp": lines(900), "0.log": lines(104, 99, 1), "x.log": lines(800)}, -1, 98, 104},
		"lines that overtake each other":    {map[string]string{"0.log": lines(110, 108, 109, 105, 1)}, 3, 104, 110},
		"a start too long ago":              {map[string]string{"0.log": lines(longAgo, 3701, 3699, 120, 118, 10)}, 3579, 108, longAgo},
		"a long line, and one without time": {map[string]string{"0.log": lines(110)[:40] + strings.Repeat("x", 200_000) + "\nno time\n" + lines(108, 1)}, 2, 107, 110},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := writing(t)
			for file, content := range c.files {
				r.Write(podLog+file, content)
			}
			report := pausesSince(t, r, 100)
			got, found := report.Pauses["c1"]
			if !found {
				t.Fatalf("got no pauses: %v", report.Problems)
			}
			same := func(what string, got time.Duration, want float64) {
				if got != seconds(want) {
					t.Errorf("%s: got %s, want %v s", what, got, want)
				}
			}
			if (got.Before == nil) != (c.before < 0) {
				t.Errorf("before: got %v, want %v s", got.Before, c.before)
			} else if got.Before != nil {
				same("before", *got.Before, c.before)
			}
			same("after", got.After, c.after)
			same("observed", got.Observed, c.observed)
		})
	}
}

func TestPausesThatAreUnknown(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"no log":    {nil, "has no log"},
		"no number": {map[string]string{"x.log": lines(1)}, "has no log"},
		"no line":   {map[string]string{"0.log": ""}, "has no line"},
		"no times":  {map[string]string{"0.log": "what\n"}, "has no line"},
	} {
		r := writing(t)
		for file, content := range c.files {
			r.Write(podLog+file, content)
		}
		report := pausesSince(t, r, 100)
		if got := report.Problems["pauses c1"]; !strings.Contains(got, c.want) || len(report.Pauses) > 0 || report.Pauses == nil {
			t.Errorf("%s: got %v and problem %q, want %q", name, report.Pauses, got, c.want)
		}
	}
	r := writing(t)
	r.Write(podLog+"0.log", lines(1))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	report := r.Machine().Inspect(ctx, inspect.Request{Parts: []inspect.Part{inspect.PausesOf}}, "self")
	if report.Problem(inspect.PausesOf) == "" {
		t.Error("got no problem after the end of the context")
	}
}

// Of a long log only the end is read, from the start of a line on.
func TestPausesOfALongLog(t *testing.T) {
	t.Parallel()
	r := writing(t)
	line := strings.TrimSuffix(lines(50), "\n") + strings.Repeat("x", 1000) + "\n"
	long := strings.Repeat(line, 17<<20/len(line))
	r.Write(podLog+"0.log.20261126-080000", lines(90)+long)
	r.Write(podLog+"0.log", lines(20, 10))
	got := pausesSince(t, r, 100).Pauses["c1"]
	if got.Observed != seconds(50) || got.After != seconds(30) {
		t.Errorf("got %+v, want what is read at the end of the log", got)
	}
	// The part that is read starts within a line, at a text that looks like a line.
	inner := lines(80) + strings.Repeat(line, 15<<20/len(line))
	last := strings.TrimSuffix(lines(10), "\n")
	inner += last + strings.Repeat("x", 16<<20-len(inner)-len(last)-1) + "\n"
	r.Write(podLog+"0.log.20261126-080000", "")
	r.Write(podLog+"0.log", strings.TrimSuffix(lines(90), "\n")+inner)
	if got := pausesSince(t, r, 100).Pauses["c1"]; got.Observed != seconds(50) {
		t.Errorf("got %+v, want what is read from the second line on", got)
	}
	if err := os.Remove(r.At(podLog + "0.log")); err != nil {
		t.Fatal(err)
	}
	if got := pausesSince(t, r, 100); len(got.Pauses) > 0 {
		t.Errorf("got %v without the file that the container writes", got.Pauses)
	}
}
