package rest

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"pgregory.net/rapid"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
)

// What is kept: the newest by number, nothing above the age, and every job for at
// least an hour.
func TestRetentionOfEndedJobs(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		r := Retention{Jobs: rapid.IntRange(1, 5).Draw(t, "jobs"), Age: time.Duration(rapid.IntRange(1, 100).Draw(t, "hours")) * time.Hour}
		var ended []endedJob
		for i, minutes := range rapid.SliceOfNDistinct(rapid.IntRange(0, 200*60), 0, 12, rapid.ID).Draw(t, "minutes since the end") {
			ended = append(ended, endedJob{ref: kube.Ref{Name: fmt.Sprint(i)}, ended: now.Add(-time.Duration(minutes) * time.Minute)})
		}
		gone := map[string]bool{}
		for _, e := range r.expired(append([]endedJob{}, ended...), now) {
			gone[e.ref.Name] = true
		}
		for _, e := range ended {
			newer := 0
			for _, other := range ended {
				if other.ended.After(e.ended) {
					newer++
				}
			}
			age := now.Sub(e.ended)
			if want := age >= time.Hour && (newer >= r.Jobs || age >= r.Age); gone[e.ref.Name] != want {
				t.Fatalf("%+v: a job that ended %s ago, with %d newer ones: deleted is %t", r, age, newer, !want)
			}
		}
	})
}

// Jobs that cannot be recorded leave space for new ones in the quota.
func TestUnrecordedJobsAreBounded(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	ended := make([]endedJob, 12000)
	for i := range ended {
		ended[i] = endedJob{ref: kube.Ref{Name: fmt.Sprint(i)}, ended: now.Add(-2 * time.Hour)}
	}
	for jobs, want := range map[int]int{1000: 9000, 3000: 3000, 4000: 2000, 10000: 2000} {
		crowded := 0
		for _, e := range (Retention{Jobs: jobs, Age: 1000 * time.Hour}).expired(ended, now) {
			if e.crowded {
				crowded++
			}
		}
		if crowded != want {
			t.Errorf("with a limit of %d, %d of %d are deleted without a record, not %d", jobs, crowded, len(ended), want)
		}
	}
}

func TestEndOfJobs(t *testing.T) {
	t.Parallel()
	set := func(stopped, condition, at string) *unstructured.Unstructured {
		o := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet",
			"metadata": map[string]any{
				"name": "train", "namespace": "pai-vc-default", "creationTimestamp": "2026-01-01T00:00:00Z",
				"labels": map[string]any{pai.LabelUser: "alice"}, "annotations": map[string]any{pai.AnnotationJobName: "train"},
			},
			"spec": map[string]any{"suspend": condition == "Suspended"},
			"status": map[string]any{"conditions": []any{map[string]any{
				"type": condition, "status": "True", "reason": "Test", "message": "", "lastTransitionTime": at,
			}}},
		}}
		if stopped != "" {
			_ = unstructured.SetNestedField(o.Object, stopped, "metadata", "annotations", pai.AnnotationStopped)
		}
		return o
	}
	const noon, later = "2026-01-01T12:00:00Z", "2026-01-01T18:00:00Z"
	for name, c := range map[string]struct {
		obj  *unstructured.Unstructured
		want string
	}{
		"completed":                   {set("", "Completed", noon), noon},
		"failed":                      {set("", "Failed", noon), noon},
		"stopped while it ran":        {set(noon+" by alice", "Suspended", later), later},
		"stopped in the queue":        {set(later+" by alice", "Suspended", noon), later},
		"stopped, at no known time":   {set("by alice", "Suspended", noon), ""},
		"waits in the queue":          {set("", "Suspended", noon), ""},
		"completed after its request": {set(noon+" by alice", "Completed", later), later},
	} {
		got, err := endOf(c.obj)
		if err != nil {
			t.Fatal(err)
		}
		want := time.Time{}
		if c.want != "" {
			want, _ = time.Parse(time.RFC3339, c.want)
		}
		if !got.Equal(want) {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}
