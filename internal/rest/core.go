package rest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
)

// Cluster is the part of a Kubernetes client that Core needs; *kube.Client is one.
type Cluster interface {
	Clientset() kubernetes.Interface // for reading
	Dynamic() dynamic.Interface      // for reading
	Create(ctx context.Context, obj *unstructured.Unstructured) error
	Patch(ctx context.Context, r kube.Ref, mergePatch []byte) error
	Delete(ctx context.Context, r kube.Ref, uid types.UID) error
}

// Core implements JobAPI with the cluster.
type Core struct {
	cluster         Cluster
	virtualClusters []string
	now             func() time.Time
}

var _ JobAPI = (*Core)(nil)

// NewCore returns a Core that runs jobs in the virtual clusters.
func NewCore(cluster Cluster, virtualClusters []string) *Core {
	return &Core{cluster: cluster, virtualClusters: virtualClusters, now: time.Now}
}

// callTimeout ends every call, except of followed logs.
const callTimeout = 30 * time.Second

// Submit implements JobAPI.
func (c *Core) Submit(ctx context.Context, s Submission) (Submitted, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return Submitted{}, err
	}
	j, warnings, err := job.Parse(s.Protocol, job.ParseOptions{VirtualClusters: c.virtualClusters, VirtualCluster: s.VirtualCluster})
	if err != nil {
		return Submitted{}, &pai.Error{Code: pai.CodeInvalid, Message: "the job is not valid", Next: "fix the job and submit it again; nothing was created", Err: err}
	}
	obj, err := j.JobSet(caller.Name, s.Protocol)
	if err != nil {
		return Submitted{}, &pai.Error{Code: pai.CodeInvalid, Err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	id := JobID{caller.Name, j.Name}
	if err := c.create(ctx, id, obj); err != nil {
		return Submitted{}, err
	}
	return Submitted{
		JobRef:   pai.JobRef{User: caller.Name, Name: j.Name, VirtualCluster: j.VirtualCluster},
		ID:       id.String(),
		Warnings: warnings,
	}, nil
}

// find returns the JobSet of a job. If there are several, it is the oldest.
func (c *Core) find(ctx context.Context, id JobID) (*unstructured.Unstructured, error) {
	sets, err := c.named(ctx, id)
	if err != nil {
		return nil, err
	}
	if len(sets) == 0 {
		return nil, pai.Errorf(pai.CodeNotFound, "list the jobs; run: paictl job list", "job %s not found", id)
	}
	return slices.MinFunc(sets, age), nil
}

// named returns the JobSets with the name of a job, at most one per virtual
// cluster.
func (c *Core) named(ctx context.Context, id JobID) ([]*unstructured.Unstructured, error) {
	name := job.ObjectName(id.User, id.Name)
	var sets []*unstructured.Unstructured
	for _, vc := range c.virtualClusters {
		obj, err := c.cluster.Dynamic().Resource(job.JobSets).Namespace(job.Namespace(vc)).Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, apiError("find the job", err)
		}
		sets = append(sets, obj)
	}
	return sets, nil
}

// age orders the oldest first.
func age(a, b *unstructured.Unstructured) int {
	ta, tb := a.GetCreationTimestamp(), b.GetCreationTimestamp()
	return cmp.Or(ta.Compare(tb.Time), cmp.Compare(a.GetNamespace(), b.GetNamespace()))
}

// List implements JobAPI.
func (c *Core) List(ctx context.Context, f Filter) ([]job.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
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
	slices.SortFunc(jobs, func(a, b job.Status) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.String(), b.String()))
	})
	return jobs, nil
}

func (c *Core) listIn(ctx context.Context, namespace string, f Filter) ([]job.Status, error) {
	selector := metav1.ListOptions{LabelSelector: pai.LabelJob}
	if f.User != "" {
		selector.LabelSelector = pai.LabelUser + "=" + f.User
	}
	sets, err := c.cluster.Dynamic().Resource(job.JobSets).Namespace(namespace).List(ctx, selector)
	if err != nil {
		return nil, apiError("list the jobs", err)
	}
	pods, err := c.cluster.Clientset().CoreV1().Pods(namespace).List(ctx, selector)
	if err != nil {
		return nil, apiError("list the jobs' pods", err)
	}
	podsOf := map[string][]corev1.Pod{}
	for _, p := range pods.Items {
		podsOf[p.Labels[pai.LabelJob]] = append(podsOf[p.Labels[pai.LabelJob]], p)
	}
	var jobs []job.Status
	for i := range sets.Items {
		s, err := job.ReadStatus(&sets.Items[i], podsOf[sets.Items[i].GetName()])
		if err != nil {
			return nil, err
		}
		if f.matches(s) {
			jobs = append(jobs, s)
		}
	}
	return jobs, nil
}

// Get implements JobAPI.
func (c *Core) Get(ctx context.Context, id JobID) (job.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return reading(ctx, func(ctx context.Context) (job.Status, error) { return c.get(ctx, id) })
}

func (c *Core) get(ctx context.Context, id JobID) (job.Status, error) {
	obj, err := c.find(ctx, id)
	if err != nil {
		return job.Status{}, err
	}
	s, err := c.status(ctx, obj)
	if err == nil && s.State == job.StateWaiting && suspended(obj) {
		s.Message = firstOf(c.whyQueued(ctx, obj), s.Message)
	}
	return s, err
}

func (c *Core) status(ctx context.Context, obj *unstructured.Unstructured) (job.Status, error) {
	pods, err := c.cluster.Clientset().CoreV1().Pods(obj.GetNamespace()).List(ctx, metav1.ListOptions{
		LabelSelector: pai.LabelJob + "=" + obj.GetName(),
	})
	if err != nil {
		return job.Status{}, apiError("list the job's pods", err)
	}
	return job.ReadStatus(obj, pods.Items)
}

// Protocol implements JobAPI.
func (c *Core) Protocol(ctx context.Context, id JobID) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	obj, err := reading(ctx, func(ctx context.Context) (*unstructured.Unstructured, error) { return c.find(ctx, id) })
	if err != nil {
		return nil, err
	}
	return []byte(obj.GetAnnotations()[job.AnnotationProtocol]), nil
}

// errUnavailable marks an error that a retry might not meet.
var errUnavailable = errors.New("the cluster is not responding")

// apiError is an error of the Kubernetes API as users see it.
func apiError(what string, err error) error {
	var status apierrors.APIStatus
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case apierrors.IsInvalid(err) || apierrors.IsBadRequest(err):
		return pai.Errorf(pai.CodeInvalid, "", "%s: %w", what, err)
	case apierrors.IsNotFound(err):
		return pai.Errorf(pai.CodeNotFound, "", "%s: %w", what, err)
	case apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || apierrors.IsConflict(err) || apierrors.IsRequestEntityTooLargeError(err):
		return pai.Errorf(pai.CodeFailed, "", "%s: %w", what, err)
	case errors.As(err, &status) && status.Status().Code < 500 && !apierrors.IsTooManyRequests(err):
		return pai.Errorf(pai.CodeFailed, "", "%s: %w", what, err)
	default: // no connection, not ready, a webhook that is being replaced
		return pai.Errorf(pai.CodeFailed, "try again in a moment", "%s: %w", what, errors.Join(errUnavailable, err))
	}
}

func taskNotFound(id JobID, role string, index int) error {
	return pai.Errorf(pai.CodeNotFound, fmt.Sprintf("list its tasks; run: paictl job show %s", id), "job %s has no task %s %d", id, role, index)
}
