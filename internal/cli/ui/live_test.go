package ui

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"

	"pai.dev/pai/internal/operation"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/run"
)

// terminal interprets the few sequences that the live view uses, and fails on
// any other.
type terminal struct {
	t     *testing.T
	mu    sync.Mutex
	lines []string
	row   int
	raw   bytes.Buffer
}

var sequence = regexp.MustCompile(`^\x1b\[(\d*)([A-Za-z])`)

func (v *terminal) Write(p []byte) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.raw.Write(p)
	for text := string(p); text != ""; {
		if m := sequence.FindStringSubmatch(text); m != nil {
			n, _ := strconv.Atoi(m[1])
			switch m[2] {
			case "A":
				if n > v.row {
					v.t.Errorf("it moves %d lines up from line %d", n, v.row)
				}
				v.row -= n
			case "J":
				v.lines = append(v.lines[:v.row], "")
			default:
				v.t.Errorf("unknown sequence %q", m[0])
			}
			text = text[len(m[0]):]
			continue
		}
		switch text[0] {
		case '\r':
		case '\n':
			v.row++
			if v.row == len(v.lines) {
				v.lines = append(v.lines, "")
			}
		default:
			if len(v.lines) == 0 {
				v.lines = []string{""}
			}
			v.lines[v.row] += text[:1]
		}
		text = text[1:]
	}
	return len(p), nil
}

func (v *terminal) shows() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return strings.TrimRight(strings.Join(v.lines, "\n"), "\n")
}

// onTerminal is a console whose standard error is a real pseudo-terminal, and
// what that shows.
func onTerminal(t *testing.T, width, height uint16) (*Console, *terminal) {
	t.Helper()
	t.Setenv("TERM", "xterm")
	ours, theirs, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := pty.Setsize(theirs, &pty.Winsize{Cols: width, Rows: height}); err != nil {
		t.Fatal(err)
	}
	v := &terminal{t: t}
	done := make(chan struct{})
	go func() { defer close(done); _, _ = io.Copy(v, ours) }()
	t.Cleanup(func() { theirs.Close(); ours.Close(); <-done })
	return &Console{Out: io.Discard, Err: theirs}, v
}

func eventually(t *testing.T, what string, v *terminal, ok func(string) bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !ok(v.shows()) {
		if time.Now().After(deadline) {
			t.Fatalf("%s; the terminal shows:\n%s", what, v.shows())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func step(id string) plan.Step { return plan.Step{ID: plan.StepID(id), Risk: pai.RiskNone} }

func TestLiveView(t *testing.T) {
	console, v := onTerminal(t, 70, 12)
	now := time.Now() // which stands still, however busy the host is
	shown := newLive(console, screenOf(console), func() time.Time { return now })
	console.Progressf("the plan")
	shown.Event(run.Event{Kind: run.StepStarted, Time: now, Step: step("a"), N: 1, Of: 4})
	shown.Event(run.Event{Kind: run.StepStarted, Time: now, Step: step("b/" + strings.Repeat("long", 30)), N: 2, Of: 4})
	shown.Witness(operation.WitnessStatus{Jobs: 2, Running: 1, Finished: 1, OutageSeconds: 0.5, Interrupted: []pai.ContainerEnd{}})
	eventually(t, "how far it is, what runs, the jobs and the API are not all there", v, func(s string) bool {
		return strings.HasPrefix(s, "the plan\n[....................] step 0 of 4, 0:00") && strings.Contains(s, "  0:00  a\n") &&
			strings.Contains(s, "2 jobs watched: 1 running, 1 finished, none interrupted\n") && strings.HasSuffix(s, "API server available (outage so far: 0.5 s)")
	})
	console.Progressf("copying %s", "things")
	shown.Event(run.Event{Kind: run.StepEnded, Time: now, Step: step("a"), N: 1, Of: 4, Outcome: pai.OutcomeSucceeded, Took: time.Second})
	shown.Witness(operation.WitnessStatus{Jobs: 2, Running: 1, Finished: 0, OutageSince: now.Add(-3 * time.Second), APIReason: "connection refused",
		Interrupted: []pai.ContainerEnd{{Job: "ann~llama", Container: "worker", Pod: "p", Machine: "gpu-01", Step: "a", Cause: "unknown"}}})
	eventually(t, "text does not go by above the frame", v, func(s string) bool {
		return strings.HasPrefix(s, "the plan\ncopying things\n[ 1/ 4]   0:00  a  1.0 s\nINTERRUPTED   job ann~llama, container worker of pod p on gpu-01") &&
			strings.Contains(s, "\n[#####...............] step 1 of 4") && strings.Contains(s, "API SERVER UNAVAILABLE for 3.0 s: connection refused") && strings.Contains(s, "1 CONTAINERS INTERRUPTED") &&
			!strings.Contains(s, "  a\n") && strings.Count(s, "jobs watched") == 1
	})
	for line := range strings.SplitSeq(v.shows(), "\n") {
		if strings.HasPrefix(line, "  ") && len([]rune(line)) > 69 {
			t.Errorf("a line of the frame would wrap: %q", line)
		}
	}
	shown.Event(run.Event{Kind: run.Stopping, Time: now, Of: 4, Message: "asked to stop"})
	shown.Close()
	console.Progressf("the end")
	eventually(t, "the frame does not go", v, func(s string) bool {
		return strings.HasSuffix(s, "stopping: asked to stop\nthe end") && !strings.Contains(s, "jobs watched")
	})
	again := NewView(console)
	defer again.Close()
	if _, is := again.(*live); !is {
		t.Error("a second operation has no live view")
	}
}

// A terminal that is too low shows what is nearest to the cursor, and is
// still redrawn in place.
func TestLiveViewOnALowTerminal(t *testing.T) {
	console, v := onTerminal(t, 40, 4)
	shown := NewView(console)
	defer shown.Close()
	for i := range 8 {
		shown.Event(run.Event{Kind: run.StepStarted, Time: time.Now(), Step: step(fmt.Sprint("s", i)), N: i + 1, Of: 8})
	}
	time.Sleep(3 * redrawEvery)
	eventually(t, "more than fits", v, func(s string) bool { return strings.Count(s, "\n") == 2 && strings.HasSuffix(s, "s7") })
}

func TestWithoutATerminalThereAreLines(t *testing.T) {
	var errs bytes.Buffer
	console := &Console{Out: io.Discard, Err: &errs}
	shown := NewView(console)
	defer shown.Close()
	shown.Event(run.Event{Kind: run.StepStarted, Step: step("a"), N: 1, Of: 2})
	for range 2 {
		shown.Witness(operation.WitnessStatus{OutageSince: time.Now().Add(-time.Minute), Interrupted: []pai.ContainerEnd{{Job: "ann~llama"}}})
	}
	shown.Event(run.Event{Kind: run.StepEnded, Step: step("a"), N: 1, Of: 2, Outcome: pai.OutcomeFailed, Message: "why"})
	text := errs.String()
	if strings.Contains(text, "\x1b") || strings.Count(text, "INTERRUPTED") != 1 || !strings.Contains(text, "[ 1/ 2]   0:00  a  failed: why\n") {
		t.Errorf("%q", text)
	}
	t.Setenv("TERM", "dumb")
	if screenOf(&Console{Err: os.Stderr}) != nil {
		t.Error("a dumb terminal is moved about on")
	}
}

// The stream is documented in docs/upgrading.md: an object a line, ending with
// the record.
func TestStream(t *testing.T) {
	var out, errs bytes.Buffer
	console := &Console{Out: &out, Err: &errs, Format: "json"}
	shown := NewView(console)
	if err := shown.Plan(plan.Plan{Verb: pai.VerbUpgrade, Hops: []plan.Hop{}, Steps: []plan.Step{step("a")}}, nil); err != nil {
		t.Fatal(err)
	}
	shown.Event(run.Event{Kind: run.StepStarted, Step: step("a"), N: 1, Of: 1})
	watched := operation.WitnessStatus{Jobs: 1, Running: 1, Interrupted: []pai.ContainerEnd{}}
	shown.Witness(watched)
	shown.Witness(watched) // says nothing new
	console.Progressf("a note for people")
	shown.Event(run.Event{Kind: run.StepEnded, Step: step("a"), N: 1, Of: 1, Outcome: pai.OutcomeSucceeded, Took: 1500 * time.Millisecond, Message: "odd", Details: "one\n    two"})
	if err := shown.Record(pai.Operation{ID: "op-1", Verb: pai.VerbUpgrade, Outcome: pai.OutcomeSucceeded}); err != nil {
		t.Fatal(err)
	}
	var kinds []string
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	for i, line := range lines {
		var e map[string]any
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("line %d is no JSON: %v\n%s", i+1, err, line)
		}
		kinds = append(kinds, e["kind"].(string))
		if e["time"] == "" || e["time"] == nil {
			t.Errorf("line %d has no time: %s", i+1, line)
		}
	}
	if got := strings.Join(kinds, " "); got != "plan step-started watching step-ended operation" {
		t.Errorf("kinds: %s", got)
	}
	if !strings.Contains(lines[3], `"message":"odd","details":"one\n    two"`) {
		t.Errorf("got no message with its details in %s", lines[3])
	}
	if !strings.Contains(lines[3], `"seconds":1.5`) || !strings.Contains(lines[4], `"id":"op-1"`) {
		t.Errorf("%s\n%s", lines[3], lines[4])
	}
	if errs.String() != "a note for people\n" {
		t.Errorf("standard error: %q", errs.String())
	}
}
