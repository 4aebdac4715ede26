package running

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"

	"pai.dev/pai/internal/pai"
)

// Queued returns the jobs that have neither started nor ended: they wait in a
// queue or for a machine. jobs are all jobs that have pods.
func Queued(ctx context.Context, objects dynamic.Interface, jobs []pai.Job) ([]pai.JobRef, error) {
	list, err := objects.Resource(JobSets()).Namespace(metav1.NamespaceAll).List(ctx, metav1.ListOptions{LabelSelector: pai.LabelJob})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the queued jobs: %w", err)
	}
	return queued(list.Items, jobs), nil
}

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
		if s := ReadJobSet(o); ended != "" || s.Stopped || runs[s.Key] {
			continue
		}
		found = append(found, refOf(o, o.GetName()))
	}
	slices.SortFunc(found, func(a, b pai.JobRef) int { return strings.Compare(a.String(), b.String()) })
	return found
}
