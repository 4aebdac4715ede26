package witness

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"

	"pai.dev/pai/internal/observe/running"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/poll"
)

const (
	// rewatchMin and rewatchMax are the pauses after a watch ended.
	rewatchMin = 500 * time.Millisecond
	rewatchMax = 5 * time.Second
	// watchTimeout is the requested duration of a watch.
	watchTimeout = 5 * time.Minute
)

// followPods watches the pods of jobs until ctx ends, through API outages. Each
// watch starts with a complete list, so that no change is missed in between.
func (w *Witness) followPods(ctx context.Context) {
	follow(ctx, func(ctx context.Context) (watch.Interface, error) {
		list, err := w.listPods(ctx)
		if err != nil {
			return nil, err
		}
		w.ledger.recordAllPods(list.Items, time.Now())
		return w.core.CoreV1().Pods(metav1.NamespaceAll).Watch(ctx, watchOptions(list.ResourceVersion, pai.LabelJob))
	}, func(e watch.Event) {
		pod, ok := e.Object.(*corev1.Pod)
		if !ok {
			return
		}
		now := time.Now()
		w.ledger.recordPod(pod, now)
		if e.Type == watch.Deleted {
			w.ledger.recordPodDeleted(string(pod.UID), now)
		}
	})
}

// followJobs watches the objects of jobs. It observes that a job was stopped also
// if the object is deleted immediately afterwards.
func (w *Witness) followJobs(ctx context.Context) {
	follow(ctx, func(ctx context.Context) (watch.Interface, error) {
		sets, version, err := w.listJobSets(ctx)
		if err != nil {
			return nil, err
		}
		for key, set := range sets {
			w.ledger.recordJob(key, set, true, time.Time{})
		}
		return w.objects.Resource(running.JobSets()).Namespace(metav1.NamespaceAll).Watch(ctx, watchOptions(version, ""))
	}, func(e watch.Event) {
		// An event might be older than a pending end, so it must not settle the end.
		// Like the list, it lacks what settle reads beside the object.
		if o, ok := e.Object.(*unstructured.Unstructured); ok {
			set := running.ReadJobSet(o)
			w.ledger.recordJob(set.Key, set, true, time.Time{})
		}
	})
}

func watchOptions(since, selector string) metav1.ListOptions {
	seconds := int64(watchTimeout.Seconds())
	return metav1.ListOptions{ResourceVersion: since, LabelSelector: selector, TimeoutSeconds: &seconds, AllowWatchBookmarks: true}
}

// follow opens a watch again whenever it ends, and handles its events.
func follow(ctx context.Context, open func(ctx context.Context) (watch.Interface, error), handle func(watch.Event)) {
	pause := rewatchMin
	for ctx.Err() == nil {
		opened := time.Now()
		if watching, err := open(ctx); err == nil {
			handleAll(watching, handle)
		}
		if time.Since(opened) > rewatchMax {
			pause = rewatchMin
		}
		_ = poll.Sleep(ctx, pause)
		pause = min(2*pause, rewatchMax)
	}
}

// handleAll handles events until the watch ends, also because its context ended.
func handleAll(watching watch.Interface, handle func(watch.Event)) {
	defer watching.Stop()
	for e := range watching.ResultChan() {
		switch e.Type {
		case watch.Error:
			return
		case watch.Bookmark:
		default:
			handle(e)
		}
	}
}

// listPods lists the pods of jobs, with the state of etcd.
func (w *Witness) listPods(ctx context.Context) (*corev1.PodList, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	list, err := w.core.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{LabelSelector: pai.LabelJob})
	if err != nil {
		return nil, fmt.Errorf("list the pods of jobs: %w", err)
	}
	return list, nil
}

// listJobSets lists the objects of jobs by key, and returns the resource version
// of the list.
func (w *Witness) listJobSets(ctx context.Context) (map[string]running.JobSet, string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	list, err := w.objects.Resource(running.JobSets()).Namespace(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, "", fmt.Errorf("list the jobs: %w", err)
	}
	sets := map[string]running.JobSet{}
	for i := range list.Items {
		set := running.ReadJobSet(&list.Items[i])
		sets[set.Key] = set
	}
	return sets, list.GetResourceVersion(), nil
}

// listRunning returns a baseline of all running jobs. A cluster without JobSets
// has only pods.
func (w *Witness) listRunning(ctx context.Context) (*Baseline, error) {
	asked := time.Now()
	pods, err := w.listPods(ctx)
	if err != nil {
		return nil, err
	}
	sets, _, err := w.listJobSets(ctx)
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, err
	}
	return baselineOf(pods.Items, sets, asked), nil
}
