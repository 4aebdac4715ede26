package pai

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestReportOfV010IsRead: a report that v0.10 wrote has no lists of failed and
// unknown ends, and is balanced.
func TestReportOfV010IsRead(t *testing.T) {
	t.Parallel()
	const older = `{"before":3,"after":1,"finished":1,"interrupted":[
		{"job":"ada~train","pod":"a","container":"task","machine":"gpu-01","time":"2026-01-02T03:04:05Z","step":"s","cause":"exit code 1"},
		{"job":"ada~train","pod":"b","container":"task","machine":"gpu-01","time":"2026-01-02T03:04:05Z","step":"s","cause":"exit code 1"}]}`
	var r JobsReport
	if err := json.Unmarshal([]byte(older), &r); err != nil {
		t.Fatal(err)
	}
	if !r.Balanced() || len(r.Interruptions()) != 2 {
		t.Errorf("got %+v", r)
	}
	data, err := json.Marshal(r)
	if err != nil || !strings.Contains(string(data), `"failed":[]`) || !strings.Contains(string(data), `"unknown":[]`) {
		t.Errorf("got %s, error %v; want empty lists", data, err)
	}
	if data, err = json.Marshal(Operation{}); err != nil || strings.Contains(string(data), "null,\"unknown") || !strings.Contains(string(data), `"interrupted":[]`) {
		t.Errorf("got %s, error %v; want empty lists", data, err)
	}
}

// TestReportCountsJobsByTheirWorstEnd compares Ended with an oracle that looks at
// one job at a time.
func TestReportCountsJobsByTheirWorstEnd(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		names := []string{"ada~a", "ada~b", "bob~a"}
		clusters := []string{"", "x"}
		draw := func(label string) (list []ContainerEnd) {
			for range rapid.IntRange(0, 4).Draw(t, label) {
				list = append(list, ContainerEnd{Job: rapid.SampledFrom(names).Draw(t, "job"), VirtualCluster: rapid.SampledFrom(clusters).Draw(t, "cluster"),
					Time: time.Unix(int64(rapid.IntRange(0, 9).Draw(t, "at")), 0)})
			}
			return list
		}
		r := JobsReport{Failed: draw("failed"), Interrupted: draw("interrupted"), Unknown: draw("unknown"), After: rapid.IntRange(0, 3).Draw(t, "after")}
		var want [3]int
		for _, name := range names {
			for _, cluster := range clusters {
				of := func(e ContainerEnd) bool { return e.Job == name && e.VirtualCluster == cluster }
				switch {
				case slices.ContainsFunc(r.Interrupted, of):
					want[1]++
				case slices.ContainsFunc(r.Unknown, of):
					want[2]++
				case slices.ContainsFunc(r.Failed, of):
					want[0]++
				}
			}
		}
		failed, interrupted, unknown := r.Ended()
		if got := [3]int{failed, interrupted, unknown}; got != want {
			t.Fatalf("got %v, want %v of %+v", got, want, r)
		}
		r.Before = r.After + want[0] + want[1] + want[2]
		if !r.Balanced() {
			t.Fatalf("not balanced: %+v", r)
		}
		r.Finished++
		if r.Balanced() {
			t.Fatalf("balanced with one job too many: %+v", r)
		}
		list := r.Interruptions()
		if len(list) != len(r.Interrupted)+len(r.Unknown) || !slices.IsSortedFunc(list, func(a, b ContainerEnd) int { return a.Time.Compare(b.Time) }) {
			t.Fatalf("got %+v", list)
		}
	})
}
