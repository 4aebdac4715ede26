package rest

import (
	"cmp"
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/pager"

	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
)

const (
	// pageSize is how many objects a request to the API server reads. A JobSet of v0.10
	// can have 256 KiB.
	pageSize = 50
	// maxLists is how many lists a server makes at the same time. Others wait: a list
	// is the only request whose cost grows with the number of jobs.
	maxLists = 2
)

// List implements JobAPI.
func (c *Core) List(ctx context.Context, f Filter) ([]job.Status, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	if f.User == "" && c.policy.Authorize(caller, identity.List, identity.Object{Kind: identity.Job}) != nil {
		f.User = caller.Name // the others would be left out
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	release, err := c.makeList(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	jobs := []job.Status{}
	for _, vc := range c.virtualClusters {
		if f.VirtualCluster != "" && f.VirtualCluster != vc {
			continue
		}
		some, err := reading(ctx, func(ctx context.Context) ([]job.Status, error) { return c.listIn(ctx, job.Namespace(vc), f) })
		if err != nil {
			return nil, err
		}
		jobs = append(jobs, some...)
	}
	jobs = slices.DeleteFunc(jobs, func(s job.Status) bool {
		return c.policy.Authorize(caller, identity.List, objectOf(JobID{s.User, s.Name})) != nil
	})
	slices.SortFunc(jobs, func(a, b job.Status) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.String(), b.String()))
	})
	return f.page(jobs), nil
}

// makeList waits until fewer than maxLists lists are being made.
func (c *Core) makeList(ctx context.Context) (release func(), err error) {
	select {
	case c.lists <- struct{}{}:
		return func() { <-c.lists }, nil
	case <-ctx.Done():
		return nil, pai.Errorf(pai.CodeFailed, "try again in a moment", "%w: other lists of jobs are being made: %w", errBusy, context.Cause(ctx))
	}
}

func (c *Core) listIn(ctx context.Context, namespace string, f Filter) ([]job.Status, error) {
	selector := pai.LabelJob
	if f.User != "" {
		selector = pai.LabelUser + "=" + f.User
	}
	records, err := c.records(ctx, namespace, selector)
	if err != nil {
		return nil, apiError("list the jobs", err)
	}
	podsOf, err := c.podsOf(ctx, namespace, selector)
	if err != nil {
		return nil, apiError("list the jobs' pods", err)
	}
	var jobs []job.Status
	for _, r := range records {
		if s := r.Status(podsOf[r.Object()]); f.matches(s) {
			jobs = append(jobs, s)
		}
	}
	return jobs, nil
}

// records are the jobs of a virtual cluster, without what makes their JobSets large.
func (c *Core) records(ctx context.Context, namespace, selector string) (records []job.Record, err error) {
	sets := c.cluster.Dynamic().Resource(job.JobSets).Namespace(namespace)
	err = eachItem(ctx, selector, listing(sets.List), func(obj *unstructured.Unstructured) error {
		r, err := job.ReadRecord(obj)
		records = append(records, r)
		return err
	})
	return records, err
}

// podsOf are the pods of jobs by the object of the job, without their specifications.
func (c *Core) podsOf(ctx context.Context, namespace, selector string) (map[string][]corev1.Pod, error) {
	pods := map[string][]corev1.Pod{}
	list := c.cluster.Clientset().CoreV1().Pods(namespace).List
	err := eachItem(ctx, selector, listing(list), func(p *corev1.Pod) error {
		p.ManagedFields = nil
		p.Spec = corev1.PodSpec{NodeName: p.Spec.NodeName}
		object := p.Labels[pai.LabelJob]
		pods[object] = append(pods[object], *p)
		return nil
	})
	return pods, err
}

// listing makes a typed list a list of any type.
func listing[L runtime.Object](list func(context.Context, metav1.ListOptions) (L, error)) pager.ListPageFunc {
	return func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return list(ctx, o) }
}

// eachItem calls do with each object of a list, which it reads in pages.
func eachItem[T runtime.Object](ctx context.Context, selector string, list pager.ListPageFunc, do func(T) error) error {
	p := pager.New(list)
	p.PageSize, p.PageBufferSize, p.FullListIfExpired = pageSize, 1, false
	return p.EachListItemWithAlloc(ctx, metav1.ListOptions{LabelSelector: selector}, func(obj runtime.Object) error {
		item, ok := obj.(T)
		if !ok {
			return nil // no list has objects of another type
		}
		return do(item)
	})
}
