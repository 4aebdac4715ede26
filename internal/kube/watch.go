package kube

import (
	"context"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"

	"pai.dev/pai/internal/poll"
)

const (
	// watchFor is how long a wait watches one object before it reads all of them again: what
	// it waits for can also depend on others.
	watchFor = 5 * time.Second
	// afterWatch is the pause of a wait between a watch and the next read.
	afterWatch = 50 * time.Millisecond
)

// awaitReady returns once an object that was read is ready, cannot become ready, or is
// deleted, and after watchFor at the latest. It decides nothing: the caller reads again.
// changed is true unless the time is over or the watch failed.
func (c *Client) awaitReady(ctx context.Context, obj *unstructured.Unstructured, check check) (changed bool) {
	resource, err := c.resource(RefOf(obj))
	if err != nil {
		_ = poll.Sleep(ctx, pollEvery) // the caller looks at the context
		return false
	}
	one := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("metadata.name", obj.GetName()).String(), ResourceVersion: obj.GetResourceVersion()}
	return eachChange(ctx, one, resource.Watch, func(event watch.Event) bool {
		now, ok := event.Object.(*unstructured.Unstructured)
		if !ok || event.Type == watch.Deleted {
			return true
		}
		u, err := check(now)
		return err != nil || u == nil || u.Final
	})
}

// awaitEnded returns once no pod of an account runs, and after watchFor at the latest. used
// are the names of those that ran in the list of a version. It decides nothing, as awaitReady.
func (c *Client) awaitEnded(ctx context.Context, users users, used []string, version string) {
	running := slices.Clone(used)
	later := metav1.ListOptions{ResourceVersion: version}
	eachChange(ctx, later, c.clientset.CoreV1().Pods(users.account.Namespace).Watch, func(event watch.Event) bool {
		p, ok := event.Object.(*corev1.Pod)
		if !ok {
			return true
		}
		running = slices.DeleteFunc(running, func(name string) bool { return name == p.Name })
		if event.Type != watch.Deleted && users.runs(p, time.Now()) {
			running = append(running, p.Name)
		}
		return len(running) == 0
	})
}

// eachChange watches until enough returns true, or for watchFor, and reports which. A watch
// that fails or ends early is followed by a pause, so that a caller who reads again does not
// do so at once.
func eachChange(ctx context.Context, from metav1.ListOptions, start func(context.Context, metav1.ListOptions) (watch.Interface, error), enough func(watch.Event) bool) bool {
	ctx, cancel := context.WithTimeout(ctx, watchFor)
	defer cancel()
	changes, err := start(ctx, from)
	if err == nil {
		defer changes.Stop()
		if untilEnough(ctx, changes.ResultChan(), enough) {
			return true
		}
	}
	_ = poll.Sleep(ctx, pollEvery) // the caller looks at the context
	return false
}

// untilEnough reports whether enough was true before the changes or ctx ended.
func untilEnough(ctx context.Context, changes <-chan watch.Event, enough func(watch.Event) bool) bool {
	for {
		select {
		case <-ctx.Done():
			return false
		case event, more := <-changes:
			if !more || event.Type == watch.Error {
				return false
			}
			if enough(event) {
				return true
			}
		}
	}
}
