package rest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
)

// Retention is how many ended jobs of a virtual cluster stay in the cluster, and for
// how long. Without it, the records of ended jobs would fill etcd.
type Retention struct {
	Jobs int
	Age  time.Duration
}

// minRetention is how long each job stays after its end. Its user sees how it ended,
// and so does an operation that runs meanwhile.
const minRetention = time.Hour

// unrecordedFactor and maxUnrecorded bound how many ended jobs of a virtual cluster stay
// while the history is not available: so many times as many as otherwise, and no more than
// leaves space in the quota, which has 13000 objects with texts. A history that was lost
// must not fill etcd or keep users from submitting.
const (
	unrecordedFactor = 3
	maxUnrecorded    = 10000
)

// ReconcileRecords deletes the jobs whose retention has passed, with their pods and
// texts, and completes submissions of servers that were killed, until the context
// ends. Any number of servers can do so in parallel. With a history, a job that is not
// recorded stays, up to unrecordedFactor times as many and maxUnrecorded.
func (c *Core) ReconcileRecords(ctx context.Context, every time.Duration, r Retention, report func(error)) {
	repeat(ctx, every, func(ctx context.Context) error {
		return errors.Join(c.reconcileTexts(ctx), c.reconcileEnded(ctx, r))
	}, report)
}

// endedJob is a job that has ended, as far as its JobSet shows.
type endedJob struct {
	ref   kube.Ref
	uid   types.UID
	ended time.Time
	// crowded: it is deleted even if it is not recorded.
	crowded bool
}

func (c *Core) reconcileEnded(ctx context.Context, r Retention) error {
	var failed []error
	for _, vc := range c.virtualClusters {
		ended, err := c.endedIn(ctx, job.Namespace(vc))
		if err != nil {
			failed = append(failed, fmt.Errorf("list the ended jobs of virtual cluster %q: %w", vc, err))
			continue
		}
		for _, e := range r.expired(ended, c.now()) {
			failed = append(failed, c.deleteEnded(ctx, e))
		}
	}
	return errors.Join(failed...)
}

func (c *Core) endedIn(ctx context.Context, namespace string) (ended []endedJob, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	sets := c.cluster.Dynamic().Resource(job.JobSets).Namespace(namespace)
	err = eachItem(ctx, pai.LabelJob, listing(sets.List), func(obj *unstructured.Unstructured) error {
		at, err := endOf(obj)
		if err == nil && !at.IsZero() {
			ended = append(ended, endedJob{ref: kube.RefOf(obj), uid: obj.GetUID(), ended: at})
		}
		return err
	})
	return ended, err
}

// endOf is when a job ended; zero if it has not, or if that is unknown. A job that was
// stopped in the queue was suspended long before it was stopped.
func endOf(obj *unstructured.Unstructured) (time.Time, error) {
	s, err := job.ReadStatus(obj, nil)
	if err != nil || !s.State.Ended() {
		return time.Time{}, err
	}
	at, _, _ := strings.Cut(obj.GetAnnotations()[pai.AnnotationStopped], " ")
	stopped, err := time.Parse(time.RFC3339, at)
	if err != nil && s.State == job.StateStopped {
		return time.Time{}, nil // never delete what might have ended just now
	}
	if stopped.After(s.Ended) {
		return stopped, nil
	}
	return s.Ended, nil
}

// expired returns the jobs to delete: those beyond the number and those beyond the age,
// the oldest first.
func (r Retention) expired(ended []endedJob, now time.Time) []endedJob {
	slices.SortFunc(ended, func(a, b endedJob) int {
		return cmp.Or(a.ended.Compare(b.ended), cmp.Compare(a.ref.Name, b.ref.Name))
	})
	var expired []endedJob
	for i, e := range ended {
		age, newer := now.Sub(e.ended), len(ended)-i-1
		e.crowded = newer >= min(unrecordedFactor*r.Jobs, maxUnrecorded)
		if age >= minRetention && (age >= r.Age || newer >= r.Jobs) {
			expired = append(expired, e)
		}
	}
	return expired
}

// deleteEnded deletes a job unless one of its pods might still run.
func (c *Core) deleteEnded(ctx context.Context, e endedJob) error {
	within, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	live, err := c.cluster.Clientset().CoreV1().Pods(e.ref.Namespace).List(within, metav1.ListOptions{
		LabelSelector: pai.LabelJob + "=" + e.ref.Name, FieldSelector: "status.phase!=Succeeded,status.phase!=Failed", Limit: 1,
	})
	if err != nil {
		return fmt.Errorf("list the pods of the ended job %s: %w", e.ref.Name, err)
	}
	if len(live.Items) > 0 {
		return nil
	}
	var unrecorded error
	if c.recorder != nil {
		switch unrecorded = c.recorder.final(within, e); {
		case unrecorded != nil && !e.crowded:
			return fmt.Errorf("the ended job %s stays in the cluster, because it is not recorded: %w", e.ref.Name, unrecorded)
		case unrecorded != nil:
			unrecorded = fmt.Errorf("the ended job %s was deleted, and its end is not recorded: %w", e.ref.Name, unrecorded)
		}
	}
	// A history that hangs can have used the time.
	within, cancel = context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	// A conflict means that another job has the name by now.
	if err := c.cluster.Delete(within, e.ref, e.uid); err != nil && !apierrors.IsConflict(err) {
		return fmt.Errorf("delete the ended job %s: %w", e.ref.Name, err)
	}
	if c.recorder != nil {
		c.recorder.left(ctx, e)
	}
	return unrecorded
}
