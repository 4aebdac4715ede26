package running

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"pai.dev/pai/internal/pai"
)

// JobSets is the resource of a job in the API.
func JobSets() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "jobset.x-k8s.io", Version: "v1alpha2", Resource: "jobsets"}
}

// Key identifies the JobSet of a job: "namespace/object".
func Key(namespace, object string) string { return namespace + "/" + object }

// JobSet is the state of a job in its JobSet.
type JobSet struct {
	Key string
	// Stopped is true after a request to stop the job.
	Stopped bool
	// Completed is true when the job has reached the success policy of its user.
	// Its remaining pods are then ended.
	Completed bool
	// Failed is true when the job has failed and is not restarted. Its remaining pods
	// are then ended.
	Failed bool
	// Restarts is how often the job was restarted as a whole, with all its pods.
	Restarts int
}

// ReadJobSet reads a JobSet object.
func ReadJobSet(o *unstructured.Unstructured) JobSet {
	state, _, _ := unstructured.NestedString(o.Object, "status", "terminalState")
	restarts, _, _ := unstructured.NestedInt64(o.Object, "status", "restarts")
	return JobSet{
		Key:       Key(o.GetNamespace(), o.GetName()),
		Stopped:   o.GetAnnotations()[pai.AnnotationStopped] != "",
		Completed: state == "Completed", // jobset.x-k8s.io JobSetCompleted
		Failed:    state == "Failed",    // JobSetFailed
		Restarts:  int(restarts),
	}
}

// Jobs reads all jobs that have pods, with all their pods, sorted by namespace and
// object.
func Jobs(ctx context.Context, core kubernetes.Interface, objects dynamic.Interface) ([]pai.Job, error) {
	jobs, _, err := All(ctx, core, objects)
	return jobs, err
}

// All reads all jobs that have pods, as Jobs does, and those that wait: they have
// neither started nor ended. It lists the objects of jobs once.
func All(ctx context.Context, core kubernetes.Interface, objects dynamic.Interface) (jobs []pai.Job, waiting []pai.JobRef, err error) {
	pods, err := core.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{LabelSelector: pai.LabelJob})
	if err != nil {
		return nil, nil, fmt.Errorf("list the pods of jobs: %w", err)
	}
	list, err := listJobSets(ctx, objects)
	if err != nil {
		return nil, nil, err
	}
	jobs = Join(pods.Items, readJobSets(list))
	return jobs, queued(list, jobs), nil
}

// notEnded selects pods that can have running containers. On the API server, it
// leaves out those of the many jobs that have ended.
func notEnded() fields.Selector {
	return fields.AndSelectors(fields.OneTermNotEqualSelector("status.phase", string(corev1.PodSucceeded)),
		fields.OneTermNotEqualSelector("status.phase", string(corev1.PodFailed)))
}

// PodsOn reads the pods of a machine that have not ended, with a label.
func PodsOn(ctx context.Context, core kubernetes.Interface, machine, label string) ([]corev1.Pod, error) {
	list, err := core.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{
		LabelSelector: label,
		FieldSelector: fields.AndSelectors(fields.OneTermEqualSelector("spec.nodeName", machine), notEnded()).String(),
	})
	if err != nil {
		return nil, fmt.Errorf("list the pods on %s: %w", machine, err)
	}
	return list.Items, nil
}

// JobsOn reads the jobs that have pods on a machine that have not ended, with only
// these pods and without the state in their JobSets, sorted by namespace and object.
func JobsOn(ctx context.Context, core kubernetes.Interface, machine string) ([]pai.Job, error) {
	pods, err := PodsOn(ctx, core, machine, pai.LabelJob)
	if err != nil {
		return nil, err
	}
	return Join(pods, nil), nil
}

// listJobSets returns nil if the cluster does not serve JobSets yet.
func listJobSets(ctx context.Context, objects dynamic.Interface) ([]unstructured.Unstructured, error) {
	list, err := objects.Resource(JobSets()).Namespace(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the JobSets of jobs: %w", err)
	}
	return list.Items, nil
}

func readJobSets(list []unstructured.Unstructured) map[string]JobSet {
	sets := map[string]JobSet{}
	for i := range list {
		s := ReadJobSet(&list[i])
		sets[s.Key] = s
	}
	return sets
}

// Join returns the jobs of pods, with the state in their JobSets.
func Join(pods []corev1.Pod, sets map[string]JobSet) []pai.Job {
	byKey := map[string]*pai.Job{}
	for i := range pods {
		p := &pods[i]
		object := p.Labels[pai.LabelJob]
		key := Key(p.Namespace, object)
		if byKey[key] == nil {
			byKey[key] = &pai.Job{JobRef: JobOf(p), Object: object, Stopped: sets[key].Stopped}
		}
		byKey[key].Pods = append(byKey[key].Pods, Pod(p))
	}
	jobs := make([]pai.Job, 0, len(byKey))
	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		job := byKey[key]
		slices.SortFunc(job.Pods, func(a, b pai.Pod) int { return strings.Compare(a.Name, b.Name) })
		jobs = append(jobs, *job)
	}
	return jobs
}
