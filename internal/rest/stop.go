package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
)

// How a job is stopped. Its JobSet stays as a record:
//
//  1. Stop marks the JobSet: AnnotationStopped has the caller, labelStop the
//     request. From now on the job will stop, even if a server is killed.
//  2. The Kueue Workload of the JobSet becomes inactive. Kueue suspends the
//     JobSet, the pods end within their grace period, Kueue releases the quota.
//  3. Then the JobSet leaves the queue of Kueue, so that a later Kueue that
//     makes a new Workload does not run it again.
//
// Stop does 1 and starts 2; ReconcileStops, in every server, does the rest.
const (
	labelStop     = pai.LabelStop
	stopRequested = pai.StopRequested
	stopDone      = pai.StopDone

	// labelJobUID is how Kueue marks the Workload of an object
	// (sigs.k8s.io/kueue/pkg/controller/constants).
	labelJobUID = "kueue.x-k8s.io/job-uid"
	// quotaReserved is the condition of a Workload that holds quota.
	quotaReserved = "QuotaReserved"
)

// workloads is a version that every Kueue of PAI serves, unlike v1beta2. Kueue 0.20
// will not serve it: while the services are upgraded, this server runs beside the next
// Kueue, and then uses newerWorkloads.
var (
	workloads      = schema.GroupVersionResource{Group: "kueue.x-k8s.io", Version: "v1beta1", Resource: "workloads"}
	newerWorkloads = schema.GroupVersionResource{Group: "kueue.x-k8s.io", Version: "v1beta2", Resource: "workloads"}
)

// Stop implements JobAPI.
func (c *Core) Stop(ctx context.Context, id JobID) error {
	caller, err := callerOf(ctx)
	if err != nil {
		return err
	}
	if err := c.policy.Authorize(caller, identity.Update, objectOf(id)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	obj, err := c.find(ctx, id)
	if err != nil {
		return err
	}
	if _, asked := obj.GetAnnotations()[pai.AnnotationStopped]; asked {
		return nil
	}
	status, err := job.ReadStatus(obj, nil) // whether it has ended is not in its pods
	if err != nil {
		return err
	}
	if status.State.Ended() {
		return pai.Errorf(pai.CodeRefused, "", "job %s has already ended: %s", id, status.State)
	}
	mark := merge(map[string]any{"metadata": map[string]any{
		"annotations": map[string]any{pai.AnnotationStopped: c.now().UTC().Format(time.RFC3339) + " by " + caller.Name},
		"labels":      map[string]any{labelStop: stopRequested},
	}})
	if err := c.cluster.Patch(ctx, kube.RefOf(obj), mark); err != nil {
		return apiError("mark the job as stopped", err)
	}
	// ReconcileStops repeats this if it fails or if the Workload does not exist yet.
	_ = c.deactivate(ctx, obj)
	return nil
}

// merge is a merge patch in JSON.
func merge(change map[string]any) []byte {
	data, err := json.Marshal(change)
	if err != nil {
		panic(err)
	}
	return data
}

func (c *Core) workloadsOf(ctx context.Context, obj *unstructured.Unstructured) ([]unstructured.Unstructured, error) {
	options := metav1.ListOptions{LabelSelector: labelJobUID + "=" + string(obj.GetUID())}
	list, err := c.cluster.Dynamic().Resource(workloads).Namespace(obj.GetNamespace()).List(ctx, options)
	if apierrors.IsNotFound(err) { // this version is not served
		list, err = c.cluster.Dynamic().Resource(newerWorkloads).Namespace(obj.GetNamespace()).List(ctx, options)
	}
	if err != nil {
		return nil, fmt.Errorf("list the workloads of %s: %w", obj.GetName(), err)
	}
	return list.Items, nil
}

func (c *Core) deactivate(ctx context.Context, obj *unstructured.Unstructured) error {
	all, err := c.workloadsOf(ctx, obj)
	if err != nil {
		return err
	}
	for _, w := range all {
		if active(w) {
			change := merge(map[string]any{"spec": map[string]any{"active": false}})
			err := c.cluster.Patch(ctx, kube.RefOf(&w), change)
			if err != nil && !apierrors.IsNotFound(err) {
				return fmt.Errorf("deactivate the workload of %s: %w", obj.GetName(), err)
			}
		}
	}
	return nil
}

func active(w unstructured.Unstructured) bool {
	value, found, err := unstructured.NestedBool(w.Object, "spec", "active")
	return value || !found || err != nil
}

const (
	// stopTimeout is how long one job can delay the stops of others.
	stopTimeout = 10 * time.Second
	jobsAtOnce  = 8
)

// ReconcileStops completes the stops that Stop started, until the context ends.
// Any number of servers can do so in parallel.
func (c *Core) ReconcileStops(ctx context.Context, every time.Duration, report func(error)) {
	repeat(ctx, every, c.reconcileStops, report)
}

// repeat calls do again and again until the context ends, and reports its errors.
func repeat(ctx context.Context, every time.Duration, do func(context.Context) error, report func(error)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if err := do(ctx); err != nil && ctx.Err() == nil {
			report(err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// reconcileStops continues with the others after a job that cannot be stopped.
func (c *Core) reconcileStops(ctx context.Context) error {
	return c.eachJob(ctx, labelStop+"="+stopRequested, "stop", c.finishStop)
}

// eachJob calls do with the JobSet of each job that a selector matches, several at
// once, and returns all errors.
func (c *Core) eachJob(ctx context.Context, selector, what string, do func(context.Context, *unstructured.Unstructured) error) error {
	var mu sync.Mutex
	var failed []error
	fail := func(err error) {
		if err != nil {
			mu.Lock()
			defer mu.Unlock()
			failed = append(failed, err)
		}
	}
	for _, vc := range c.virtualClusters {
		var running errgroup.Group
		running.SetLimit(jobsAtOnce)
		sets := c.cluster.Dynamic().Resource(job.JobSets).Namespace(job.Namespace(vc))
		list := func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			ctx, cancel := context.WithTimeout(ctx, callTimeout)
			defer cancel()
			return sets.List(ctx, o)
		}
		err := eachItem(ctx, selector, list, func(obj *unstructured.Unstructured) error {
			running.Go(func() error { fail(do(ctx, obj)); return nil })
			return nil
		})
		if err != nil {
			fail(fmt.Errorf("list the jobs to %s: %w", what, err))
		}
		_ = running.Wait() // fail has the errors
	}
	return errors.Join(failed...)
}

func (c *Core) finishStop(ctx context.Context, obj *unstructured.Unstructured) error {
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	if err := c.deactivate(ctx, obj); err != nil {
		return err
	}
	status, err := c.status(ctx, obj)
	if err != nil {
		return err
	}
	if !status.State.Ended() {
		return nil
	}
	change := map[string]any{labelStop: stopDone}
	if status.State == job.StateStopped && suspended(obj) {
		held, err := c.holdsQuota(ctx, obj)
		if err != nil || held {
			return err
		}
		change[job.LabelQueue] = nil
	}
	err = c.cluster.Patch(ctx, kube.RefOf(obj), merge(map[string]any{"metadata": map[string]any{"labels": change}}))
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("remove stopped job %s from its queue: %w", obj.GetName(), err)
	}
	return nil
}

func suspended(obj *unstructured.Unstructured) bool {
	value, _, _ := unstructured.NestedBool(obj.Object, "spec", "suspend")
	return value
}

// holdsQuota reports whether Kueue still counts the job. A JobSet that leaves
// its queue too early keeps its quota forever.
func (c *Core) holdsQuota(ctx context.Context, obj *unstructured.Unstructured) (bool, error) {
	all, err := c.workloadsOf(ctx, obj)
	if err != nil {
		return false, err
	}
	for _, w := range all {
		quota, err := quotaOf(w)
		if err != nil {
			return false, err
		}
		if active(w) || quota.Status == metav1.ConditionTrue {
			return true, nil
		}
	}
	return false, nil
}

// quotaOf is the quota condition of a workload; zero if it has none.
func quotaOf(w unstructured.Unstructured) (metav1.Condition, error) {
	var typed struct {
		Status struct {
			Conditions []metav1.Condition `json:"conditions"`
		} `json:"status"`
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(w.Object, &typed); err != nil {
		return metav1.Condition{}, fmt.Errorf("read workload %s: %w", w.GetName(), err)
	}
	if c := meta.FindStatusCondition(typed.Status.Conditions, quotaReserved); c != nil {
		return *c, nil
	}
	return metav1.Condition{}, nil
}
