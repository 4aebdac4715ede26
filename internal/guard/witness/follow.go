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
)

// How long the witness waits before it watches again after a watch ended.
const (
	watchAgainMin = 500 * time.Millisecond
	watchAgainMax = 5 * time.Second
	// watchFor is how long the API server is asked to keep a watch.
	watchFor = 5 * time.Minute
)

// followPods watches the jobs' pods until ctx ends, through outages: every
// watch starts with a complete list, so that nothing in between is missed.
func (w *Witness) followPods(ctx context.Context) {
	w.follow(ctx, func(ctx context.Context) (watch.Interface, error) {
		list, err := w.listPods(ctx)
		if err != nil {
			return nil, err
		}
		w.ledger.sawAllPods(list.Items, time.Now())
		return w.core.CoreV1().Pods(metav1.NamespaceAll).Watch(ctx, watchOptions(list.ResourceVersion, pai.LabelJob))
	}, func(e watch.Event) {
		pod, ok := e.Object.(*corev1.Pod)
		if !ok {
			return
		}
		now := time.Now()
		w.ledger.sawPod(pod, now)
		if e.Type == watch.Deleted {
			w.ledger.podGone(string(pod.UID), now)
		}
	})
}

// followJobs watches the jobs' own objects, so that a stop is seen even where
// the object is gone right after.
func (w *Witness) followJobs(ctx context.Context) {
	sets := w.objects.Resource(running.JobSets()).Namespace(metav1.NamespaceAll)
	w.follow(ctx, func(ctx context.Context) (watch.Interface, error) {
		asked := time.Now()
		list, err := sets.List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, err
		}
		w.sawJobSets(list.Items, asked)
		return sets.Watch(ctx, watchOptions(list.GetResourceVersion(), ""))
	}, func(e watch.Event) {
		// An event may be older than what was suspected since: it adds what it
		// says, and settles nothing.
		if o, ok := e.Object.(*unstructured.Unstructured); ok {
			set := running.ReadJobSet(o)
			w.ledger.sawJob(set.Key, set, true, time.Time{})
		}
	})
}

func watchOptions(since, selector string) metav1.ListOptions {
	seconds := int64(watchFor.Seconds())
	return metav1.ListOptions{ResourceVersion: since, LabelSelector: selector, TimeoutSeconds: &seconds, AllowWatchBookmarks: true}
}

// follow opens a watch again and again and hands its events on.
func (w *Witness) follow(ctx context.Context, open func(ctx context.Context) (watch.Interface, error), handle func(watch.Event)) {
	wait := watchAgainMin
	for ctx.Err() == nil {
		began := time.Now()
		if watching, err := open(ctx); err == nil {
			drain(ctx, watching, handle)
		}
		if time.Since(began) > watchAgainMax {
			wait = watchAgainMin
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, watchAgainMax)
	}
}

// drain hands on events until the watch ends.
func drain(ctx context.Context, watching watch.Interface, handle func(watch.Event)) {
	defer watching.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case e, ok := <-watching.ResultChan():
			if !ok || e.Type == watch.Error {
				return
			}
			if e.Type != watch.Bookmark {
				handle(e)
			}
		}
	}
}

// listPods lists the jobs' pods as etcd has them.
func (w *Witness) listPods(ctx context.Context) (*corev1.PodList, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	list, err := w.core.CoreV1().Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{LabelSelector: pai.LabelJob})
	if err != nil {
		return nil, fmt.Errorf("list the pods of jobs: %w", err)
	}
	return list, nil
}

// list reads the jobs' pods and their own objects.
func (w *Witness) list(ctx context.Context) ([]corev1.Pod, map[string]running.JobSet, error) {
	pods, err := w.listPods(ctx)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	list, err := w.objects.Resource(running.JobSets()).Namespace(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if apierrors.IsNotFound(err) {
		return pods.Items, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("list the jobs: %w", err)
	}
	sets := map[string]running.JobSet{}
	for i := range list.Items {
		set := running.ReadJobSet(&list.Items[i])
		sets[set.Key] = set
	}
	return pods.Items, sets, nil
}

// sawJobSets takes note of a complete list that was asked for at a moment.
func (w *Witness) sawJobSets(items []unstructured.Unstructured, asked time.Time) {
	sets := map[string]running.JobSet{}
	for i := range items {
		set := running.ReadJobSet(&items[i])
		sets[set.Key] = set
	}
	w.ledger.sawAllJobs(sets, asked)
}
