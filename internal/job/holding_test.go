package job

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	jobset "sigs.k8s.io/jobset/api/jobset/v1alpha2"
)

// What a job holds is what Kueue counts: nothing before its admission, nothing after its end.
func TestHoldingIsWhatKueueCounts(t *testing.T) {
	t.Parallel()
	const both = "cpu 2 memory 128Mi pods 2"
	status := func(obj *unstructured.Unstructured, role map[string]any) *unstructured.Unstructured {
		if err := unstructured.SetNestedSlice(obj.Object, []any{role}, "status", "replicatedJobsStatus"); err != nil {
			t.Fatal(err)
		}
		return obj
	}
	for name, c := range map[string]struct {
		obj  *unstructured.Unstructured
		want string
	}{
		"in the queue":       {jobSetOf(t, true, "", string(jobset.JobSetSuspended)), ""},
		"runs":               {jobSetOf(t, false, ""), both},
		"succeeded":          {jobSetOf(t, false, "", string(jobset.JobSetCompleted)), ""},
		"failed":             {jobSetOf(t, false, "", string(jobset.JobSetFailed)), ""},
		"pods still end":     {status(jobSetOf(t, true, "now"), map[string]any{"name": "worker", "active": int64(1)}), both},
		"stopped":            {status(jobSetOf(t, true, "now"), map[string]any{"name": "worker", "active": int64(0)}), ""},
		"all tasks are done": {status(jobSetOf(t, false, ""), map[string]any{"name": "worker", "succeeded": int64(1)}), ""},
	} {
		h, err := ReadHolding(c.obj)
		var got []string
		for _, name := range []string{"cpu", "memory", "pods"} {
			for known, q := range h.Resources {
				if string(known) == name {
					got = append(got, name+" "+q.String())
				}
			}
		}
		if err != nil || strings.Join(got, " ") != c.want || h.User != "alice" || h.Name != "train" {
			t.Errorf("%s: got %s of %s, %v, want %s", name, got, h.JobRef, err, c.want)
		}
	}
}

// Only a time limit of the last run says when a job ends.
func TestHoldingEndsWithItsTimeLimit(t *testing.T) {
	t.Parallel()
	of := func(text string, resumed bool) time.Time {
		t.Helper()
		j, _, err := Parse([]byte(text), ParseOptions{})
		if err != nil {
			t.Fatal(err)
		}
		o, err := j.Objects("alice", []byte(text), "texts")
		if err != nil {
			t.Fatal(err)
		}
		_ = unstructured.SetNestedField(o.JobSet.Object, false, "spec", "suspend")
		if resumed {
			_ = unstructured.SetNestedSlice(o.JobSet.Object, []any{map[string]any{"type": "Suspended", "status": "False", "lastTransitionTime": noon.Format(time.RFC3339)}}, "status", "conditions")
		}
		h, err := ReadHolding(o.JobSet)
		if err != nil {
			t.Fatal(err)
		}
		return h.Until
	}
	limited := good + "extras: {timeLimit: 2h}\n"
	if got := of(limited, true); !got.Equal(noon.Add(2 * time.Hour)) {
		t.Errorf("got %s", got)
	}
	for name, got := range map[string]time.Time{
		"without a limit": of(good, true), "not known since when": of(limited, false),
		"started again": of(strings.Replace(limited, "type: job\n", "type: job\njobRetryCount: 1\n", 1), true),
	} {
		if !got.IsZero() {
			t.Errorf("%s: got %s", name, got)
		}
	}
}
