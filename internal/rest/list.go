package rest

import (
	"cmp"
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/pager"

	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
)

const (
	// pageSize is how many objects a request to the API server reads. A JobSet of v0.10
	// can have 256 KiB, most of it in its metadata.
	pageSize = 50
	// maxLists is how many lists a server makes at the same time. Others wait: a list
	// is the only request whose cost grows with the number of jobs.
	maxLists = 2
)

// List implements JobAPI.
func (c *Core) List(ctx context.Context, f Filter) ([]job.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	release, err := c.makeList(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	jobs, err := c.list(ctx, f)
	return f.page(jobs), err
}

// list returns the jobs that a filter selects, without its page. Its caller makes a list.
func (c *Core) list(ctx context.Context, f Filter) ([]job.Status, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	if f.User == "" && c.policy.Authorize(caller, identity.List, identity.Object{Kind: identity.Job}) != nil {
		f.User = caller.Name // the others would be left out
	}
	jobs := []job.Status{}
	for _, vc := range c.virtualClusters {
		if f.VirtualCluster != "" && f.VirtualCluster != vc {
			continue
		}
		some, err := reading(ctx, func(ctx context.Context) ([]job.Status, error) { return c.listIn(ctx, caller, job.Namespace(vc), f) })
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
	return jobs, nil
}

// shown is what a caller sees of a job in a list.
func (c *Core) shown(caller Caller, s job.Status) job.Status {
	if c.policy.Authorize(caller, identity.Read, objectOf(JobID{s.User, s.Name})) != nil {
		return s.Public()
	}
	return s
}

// makeList waits until fewer than maxLists lists are being made.
func (c *Core) makeList(ctx context.Context) (release func(), err error) {
	return takeTurn(ctx, c.lists, "other lists of jobs are being made")
}

// takeTurn waits for a place among those that do the same.
func takeTurn(ctx context.Context, places chan struct{}, others string) (release func(), err error) {
	select {
	case places <- struct{}{}:
		return func() { <-places }, nil
	case <-ctx.Done():
		return nil, pai.Errorf(pai.CodeFailed, "try again in a moment", "%w: %s: %w", errBusy, others, context.Cause(ctx))
	}
}

func (c *Core) listIn(ctx context.Context, caller Caller, namespace string, f Filter) ([]job.Status, error) {
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
			jobs = append(jobs, c.shown(caller, s))
		}
	}
	return jobs, nil
}

// records are the jobs of a virtual cluster, without what makes their JobSets large.
func (c *Core) records(ctx context.Context, namespace, selector string) (records []job.Record, err error) {
	sets := c.cluster.Dynamic().Resource(job.JobSets).Namespace(namespace)
	add := func(r job.Record) error { records = append(records, r); return nil }
	if v, ok := c.cluster.(versionCluster); ok {
		return records, c.sets.each(ctx, selector, setsFrom(v, sets, namespace), add)
	}
	err = eachItem(ctx, selector, listing(sets.List), func(obj *unstructured.Unstructured) error {
		r, err := job.ReadRecord(obj)
		records = append(records, r)
		return err
	})
	return records, err
}

// setsFrom reads the JobSets of a namespace.
func setsFrom(c versionCluster, sets dynamic.ResourceInterface, namespace string) objects[job.Record] {
	return objects[job.Record]{
		namespace: namespace, atOnce: 2 * pageSize, versions: versionsOf(c, job.JobSets, namespace),
		list: func(ctx context.Context, o metav1.ListOptions) (all []job.Record, page metav1.ListMeta, err error) {
			list, err := sets.List(ctx, o)
			if err != nil {
				return nil, page, err
			}
			page.Continue = list.GetContinue()
			for i := range list.Items {
				r, err := job.ReadRecord(&list.Items[i])
				if err != nil {
					return nil, page, err
				}
				all = append(all, r)
			}
			return all, page, nil
		},
		get: func(ctx context.Context, name string) (job.Record, error) {
			obj, err := sets.Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return job.Record{}, err
			}
			return job.ReadRecord(obj)
		},
	}
}

// podsOf are the pods of jobs by the object of the job, without their specifications.
func (c *Core) podsOf(ctx context.Context, namespace, selector string) (map[string][]corev1.Pod, error) {
	pods := map[string][]corev1.Pod{}
	add := func(p corev1.Pod) error {
		object := p.Labels[pai.LabelJob]
		pods[object] = append(pods[object], p)
		return nil
	}
	if v, ok := c.cluster.(versionCluster); ok {
		return pods, c.pods.each(ctx, selector, podsFrom(v, c.cluster, namespace), add)
	}
	return pods, c.eachPod(ctx, namespace, selector, add)
}

// podsFrom reads the pods of a namespace, without their specifications.
func podsFrom(v versionCluster, c Cluster, namespace string) objects[corev1.Pod] {
	pods := c.Clientset().CoreV1().Pods(namespace)
	return objects[corev1.Pod]{
		namespace: namespace, atOnce: 10 * pageSize, versions: versionsOf(v, corev1.SchemeGroupVersion.WithResource("pods"), namespace),
		list: func(ctx context.Context, o metav1.ListOptions) (all []corev1.Pod, page metav1.ListMeta, err error) {
			list, err := pods.List(ctx, o)
			if err != nil {
				return nil, page, err
			}
			for i := range list.Items {
				all = append(all, withoutSpec(&list.Items[i]))
			}
			return all, list.ListMeta, nil
		},
		get: func(ctx context.Context, name string) (corev1.Pod, error) {
			p, err := pods.Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return corev1.Pod{}, err
			}
			return withoutSpec(p), nil
		},
	}
}

// eachPod calls do with each pod of jobs, without its specification.
func (c *Core) eachPod(ctx context.Context, namespace, selector string, do func(corev1.Pod) error) error {
	list := c.cluster.Clientset().CoreV1().Pods(namespace).List
	return eachItem(ctx, selector, listing(list), func(p *corev1.Pod) error { return do(withoutSpec(p)) })
}

// withoutSpec is a pod that has, of its specification, what the status of a job depends on.
func withoutSpec(p *corev1.Pod) corev1.Pod {
	p.ManagedFields = nil
	spec := corev1.PodSpec{NodeName: p.Spec.NodeName}
	if kind := p.Spec.NodeSelector[pai.LabelMachineSKU]; kind != "" {
		spec.NodeSelector = map[string]string{pai.LabelMachineSKU: kind}
	}
	p.Spec = spec
	return *p
}

// manyPods is how many pods of a job are read at any time. A job with more of them is read
// when fewer than maxLists others are: it can have as much in memory as a list.
const manyPods = 500

// podsOfOne are the pods of one job, without their specifications.
func (c *Core) podsOfOne(ctx context.Context, obj *unstructured.Unstructured) (pods []corev1.Pod, err error) {
	release := func() {}
	defer func() { release() }()
	err = c.eachPod(ctx, obj.GetNamespace(), pai.LabelJob+"="+obj.GetName(), func(p corev1.Pod) error {
		if pods = append(pods, p); len(pods) != manyPods {
			return nil
		}
		done, err := takeTurn(ctx, c.large, "other jobs with many tasks are being read")
		if err == nil {
			release = done
		}
		return err
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
