package witness

import (
	"context"
	"fmt"
	"testing"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"pai.dev/pai/internal/observe/running"
)

func logLine(ms int, text string) string {
	return at(ms).Format(time.RFC3339Nano) + " " + text + "\n"
}

func TestLastLineIsFoundByContent(t *testing.T) {
	t.Parallel()
	text := logLine(1000, "step 1") + logLine(2000, "step 2")
	line, ok := parseLine(lastLine([]byte(text)))
	if !ok || !line.Time.Equal(at(2000)) {
		t.Fatalf("got %+v, want the line of 2 s", line)
	}
	for name, test := range map[string]struct {
		log  string
		want bool
	}{
		"same log":                      {text + logLine(3000, "step 3"), true},
		"different text, same time":     {logLine(1000, "step 1") + logLine(2000, "step X"), false},
		"same text, different time":     {logLine(1000, "step 1") + logLine(2001, "step 2"), false},
		"line cut off by a size limit":  {text[:len(text)-4], false},
		"no lines":                      {"", false},
		"lines without a timestamp":     {"step 1\nstep 2\n", false},
		"last line without a line feed": {text[:len(text)-1], true},
	} {
		if got := contains([]byte(test.log), line); got != test.want {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}

// A line that is missing from a log was lost only if the log starts before it.
// The kubelet rotates logs: the log then starts after the line or is empty.
func TestRotatedLogDoesNotLoseOutput(t *testing.T) {
	t.Parallel()
	line := Line{Time: at(2000)}
	for name, test := range map[string]struct {
		log  string
		want bool
	}{
		"starts before the line": {logLine(1000, "step 1"), true},
		"starts with its time":   {logLine(2000, "step X"), true},
		"starts after the line":  {logLine(3000, "step 3"), false},
		"empty after a rotation": {"", false},
		"no timestamp":           {"garbage\n", true},
	} {
		if got := startsBefore([]byte(test.log), line); got != test.want {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}

// The deadline cuts off the final observation. What the observation before it
// showed alive is not interrupted.
func TestCutObservationHidesNoLivingContainer(t *testing.T) {
	t.Parallel()
	unavailable := &rest.Config{Host: "http://127.0.0.1:1"}
	observations := 0
	w := &Witness{ledger: watched(), unobserved: &unobservedTime{}, failures: map[string]string{},
		core: kubernetes.NewForConfigOrDie(unavailable), objects: dynamic.NewForConfigOrDie(unavailable),
		o: StartOptions{Machines: func(ctx context.Context, _ []string) map[string]running.MachineReport {
			if observations++; observations > 1 {
				<-ctx.Done()
				return map[string]running.MachineReport{testMachine: {Err: ctx.Err()}}
			}
			return map[string]running.MachineReport{testMachine: {Containers: []running.Container{{ID: "b-c0"}}}}
		}}}
	ctx, cancel := context.WithTimeout(t.Context(), 2*settleEvery)
	defer cancel()
	seen := w.observeUntilSettled(ctx)
	r := w.ledger.conclude(seen, at(30_000))
	if observations < 2 || len(r.Interruptions()) != 1 || r.Unknown[0].Pod != "train-a" {
		t.Errorf("got %d observations, %+v; want only pod train-a", observations, r.Interruptions())
	}
}

func ExampleOutage_For() {
	outage := Outage{Since: base(), Reason: "connection refused"}
	fmt.Println(outage.For(base().Add(3 * time.Second)))
	fmt.Println(Outage{}.For(base()))
	// Output:
	// 3s
	// 0s
}
