package running

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"pai.dev/pai/internal/pai"
)

// queued returns the jobs that have neither started nor ended: they wait in a queue
// or for a machine. jobs are all jobs that have pods.
func queued(sets []unstructured.Unstructured, jobs []pai.Job) []pai.JobRef {
	runs := map[string]bool{}
	for _, j := range jobs {
		for _, p := range j.Pods {
			runs[Key(p.Namespace, j.Object)] = runs[Key(p.Namespace, j.Object)] || p.Running()
		}
	}
	var found []pai.JobRef
	for i := range sets {
		o := &sets[i]
		ended, _, _ := unstructured.NestedString(o.Object, "status", "terminalState")
		if o.GetLabels()[pai.LabelJob] == "" {
			continue
		}
		if s := ReadJobSet(o); ended != "" || s.Stopped || runs[s.Key] {
			continue
		}
		found = append(found, refOf(o, o.GetName()))
	}
	slices.SortFunc(found, func(a, b pai.JobRef) int { return strings.Compare(a.String(), b.String()) })
	return found
}
