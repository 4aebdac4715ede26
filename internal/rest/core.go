package rest

import (
	"cmp"
	"context"
	"crypto/ed25519"
	crand "crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"pai.dev/pai/internal/identity"
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
	PatchUnchanged(ctx context.Context, r kube.Ref, mergePatch []byte) error
	Delete(ctx context.Context, r kube.Ref, uid types.UID) error
}

// Core implements JobAPI with the cluster.
type Core struct {
	cluster         Cluster
	virtualClusters []string
	containment     map[string]job.Containment // by virtual cluster; others have the defaults
	storages        []pai.Storage
	policy          identity.Policy
	output          MachineOutput // nil: only the newest file of a task is read
	recorder        *Recorder     // nil: there is no history
	now             func() time.Time
	lists           chan struct{} // one element for each list that is being made
	large           chan struct{} // one element for each job with many pods that is being read
	holders         *holders
	sets            *unchanged[job.Record]
	pods            *unchanged[corev1.Pod]
}

var _ JobAPI = (*Core)(nil)

// NewCore returns a Core that runs jobs in the virtual clusters.
func NewCore(cluster Cluster, virtualClusters []string) *Core {
	return &Core{cluster: cluster, virtualClusters: virtualClusters, now: time.Now, lists: make(chan struct{}, maxLists), large: make(chan struct{}, maxLists),
		holders: &holders{},
		sets:    newUnchanged(func(r job.Record) version { return version{r.UID(), r.Version()} }),
		pods:    newUnchanged(func(p corev1.Pod) version { return versionOf(&p) })}
}

// WithContainment sets what the operator granted to the tasks of virtual clusters.
func (c *Core) WithContainment(containment map[string]job.Containment) *Core {
	c.containment = containment
	return c
}

// WithStorages sets the storages that jobs can mount.
func (c *Core) WithStorages(storages []pai.Storage) *Core {
	c.storages = storages
	return c
}

// WithPolicy sets what callers can do.
func (c *Core) WithPolicy(p identity.Policy) *Core {
	c.policy = p
	return c
}

// callTimeout ends every call, except of followed logs.
const callTimeout = 30 * time.Second

// prepared is a job that can be created.
type prepared struct {
	spec     *job.Spec
	warnings []job.Problem
	objects  job.Objects
	id       JobID
}

// prepare checks a submission and makes the objects of its job.
func (c *Core) prepare(ctx context.Context, s Submission) (prepared, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return prepared{}, err
	}
	options := job.ParseOptions{VirtualClusters: c.virtualClusters, VirtualCluster: s.VirtualCluster,
		Storages: c.storages, DefaultStorages: c.defaultStorages(caller)}
	j, warnings, err := job.Parse(s.Protocol, options)
	if j != nil && j.ChoosesKind() {
		if options.Kinds, options.GPUQuota, err = c.kinds(ctx, j.VirtualCluster); err != nil {
			return prepared{}, err
		}
		j, warnings, err = job.Parse(s.Protocol, options)
	}
	if err != nil {
		return prepared{}, invalid(err)
	}
	if err := c.policy.Authorize(caller, identity.Create, identity.Object{Kind: identity.Job, VirtualCluster: j.VirtualCluster}); err != nil {
		return prepared{}, err
	}
	if err := c.permitMounts(caller, j.Mounts); err != nil {
		return prepared{}, err
	}
	j.Containment = c.containment[j.VirtualCluster]
	if j.NeedsKey() {
		if j.SSHKey, err = newSSHKey(); err != nil {
			return prepared{}, err
		}
	}
	objects, err := j.Objects(caller.Name, s.Protocol, job.ObjectName(caller.Name, j.Name)+"-"+randomName())
	if err != nil {
		return prepared{}, invalid(err)
	}
	return prepared{j, warnings, objects, JobID{caller.Name, j.Name}}, nil
}

// newSSHKey makes the pair that the tasks of a job log in to one another with.
func newSSHKey() (job.KeyPair, error) {
	public, private, err := ed25519.GenerateKey(crand.Reader)
	if err != nil {
		return job.KeyPair{}, fmt.Errorf("make a key for ssh: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return job.KeyPair{}, fmt.Errorf("encode a key for ssh: %w", err)
	}
	signer, err := ssh.NewPublicKey(public)
	if err != nil {
		return job.KeyPair{}, fmt.Errorf("encode a key for ssh: %w", err)
	}
	return job.KeyPair{Private: string(pem.EncodeToMemory(block)), Public: string(ssh.MarshalAuthorizedKey(signer))}, nil
}

// Submit implements JobAPI.
func (c *Core) Submit(ctx context.Context, s Submission) (Submitted, error) {
	p, err := c.prepare(ctx, s)
	if err != nil {
		return Submitted{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := c.create(ctx, p.id, p.objects); err != nil {
		return Submitted{}, err
	}
	return Submitted{
		JobRef:   pai.JobRef{User: p.id.User, Name: p.id.Name, VirtualCluster: p.spec.VirtualCluster},
		ID:       p.id.String(),
		Warnings: p.warnings,
	}, nil
}

// Preview implements JobAPI.
func (c *Core) Preview(ctx context.Context, s Submission) (Previewed, error) {
	p, err := c.prepare(ctx, s)
	if err != nil {
		return Previewed{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := c.requireUnused(ctx, p.id); err != nil {
		return Previewed{}, err
	}
	return Previewed{Preview: p.spec.Preview(), ID: p.id.String(), Warnings: p.warnings}, nil
}

func invalid(err error) error {
	return &pai.Error{Code: pai.CodeInvalid, Message: "the job is not valid", Next: "fix the job and submit it again; nothing was created", Err: err}
}

// find returns the JobSet of a job. If there are several, it is the oldest.
func (c *Core) find(ctx context.Context, id JobID) (*unstructured.Unstructured, error) {
	sets, err := c.named(ctx, id)
	if err != nil {
		return nil, err
	}
	if len(sets) == 0 {
		return nil, noJob(id)
	}
	return slices.MinFunc(sets, age), nil
}

func noJob(id JobID) error {
	return &reason{"NoJobError", "Job " + id.String() + " is not found.",
		pai.Errorf(pai.CodeNotFound, "list the jobs; run: paictl job list", "job %s not found", id)}
}

// named returns the JobSets with the name of a job, at most one per virtual
// cluster. The name of an object has a short hash, so another job could have the same.
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
		if isJob(obj, id) {
			sets = append(sets, obj)
		}
	}
	return sets, nil
}

// isJob reports whether an object with the name of a job is that job. Labels that
// were removed decide nothing.
func isJob(obj *unstructured.Unstructured, id JobID) bool {
	user, name := obj.GetLabels()[pai.LabelUser], obj.GetAnnotations()[pai.AnnotationJobName]
	return (user == "" || user == id.User) && (name == "" || name == id.Name)
}

// age orders the oldest first.
func age(a, b *unstructured.Unstructured) int {
	ta, tb := a.GetCreationTimestamp(), b.GetCreationTimestamp()
	return cmp.Or(ta.Compare(tb.Time), cmp.Compare(a.GetNamespace(), b.GetNamespace()))
}

// Get implements JobAPI.
func (c *Core) Get(ctx context.Context, id JobID) (job.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	o, err := c.observed(ctx, id)
	if err == nil {
		c.explain(ctx, o.set, &o.status)
	}
	return o.status, err
}

// Living implements ClusterAPI.
func (c *Core) Living(ctx context.Context, id JobID) (job.Status, error) {
	o, err := c.observed(ctx, id)
	return o.status, err
}

// observed is a job with its JobSet.
type observed struct {
	set    *unstructured.Unstructured
	status job.Status
}

// observed returns a job as its objects say, without what explains why it waits.
func (c *Core) observed(ctx context.Context, id JobID) (observed, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return reading(ctx, func(ctx context.Context) (observed, error) {
		set, err := c.find(ctx, id)
		if err != nil {
			return observed{}, err
		}
		s, err := c.status(ctx, set)
		return observed{set, s}, err
	})
}

func (c *Core) status(ctx context.Context, obj *unstructured.Unstructured) (job.Status, error) {
	pods, err := c.podsOfOne(ctx, obj)
	if err != nil {
		return job.Status{}, apiErrorUnlessKnown("list the job's pods", err)
	}
	return job.ReadStatus(obj, pods)
}

// Protocol implements JobAPI.
func (c *Core) Protocol(ctx context.Context, id JobID) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return reading(ctx, func(ctx context.Context) ([]byte, error) {
		obj, err := c.find(ctx, id)
		if err != nil {
			return nil, err
		}
		return c.protocolOf(ctx, id, obj)
	})
}

// errUnavailable marks an error that a retry might not meet.
var errUnavailable = errors.New("the cluster is not responding")

// errNotLetIn: the API no longer knows this server, for example because its pod was
// deleted while the kubelet of its machine was down. Another server might answer.
var errNotLetIn = fmt.Errorf("%w to this server, which it no longer lets in", errUnavailable)

// errRefused: the API refused what this server must be able to do.
var errRefused = errors.New("the cluster refused the request")

// apiError is an error of the Kubernetes API as users see it.
func apiError(what string, err error) error {
	var status apierrors.APIStatus
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.As(err, new(contended)):
		return withheld("try again in a moment", what, errContended, err)
	case isTooLarge(err):
		return pai.Errorf(pai.CodeInvalid, "make the job smaller", "%s: the cluster does not store objects of that size: %w", what, err)
	case isQuotaExceeded(err):
		return pai.Errorf(pai.CodeRefused, "wait until jobs of the virtual cluster have ended, or ask an operator", "%s: %w", what, err)
	case apierrors.IsInvalid(err) || apierrors.IsBadRequest(err):
		return pai.Errorf(pai.CodeInvalid, "", "%s: %w", what, err)
	case apierrors.IsNotFound(err):
		return pai.Errorf(pai.CodeNotFound, "", "%s: %w", what, err)
	case apierrors.IsUnauthorized(err):
		return withheld("try again in a moment", what, errNotLetIn, err)
	case apierrors.IsForbidden(err) || apierrors.IsConflict(err):
		return withheld("", what, errRefused, err)
	case errors.As(err, &status) && status.Status().Code < 500 && !apierrors.IsTooManyRequests(err):
		return withheld("", what, errRefused, err)
	default: // no connection, not ready, a webhook that is being replaced
		return withheld("try again in a moment", what, errUnavailable, err)
	}
}

// apiErrorUnlessKnown is apiError for errors that can be those of PAI.
func apiErrorUnlessKnown(what string, err error) error {
	var known *pai.Error
	if errors.As(err, &known) {
		return err
	}
	return apiError(what, err)
}

// isTooLarge recognizes the refusal of the API server and that of etcd, which arrives
// as an internal error.
func isTooLarge(err error) bool {
	return apierrors.IsRequestEntityTooLargeError(err) || strings.Contains(err.Error(), "etcdserver: request is too large") ||
		strings.Contains(err.Error(), "trying to send message larger than max")
}

// isQuotaExceeded recognizes the refusal of a ResourceQuota.
func isQuotaExceeded(err error) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), "exceeded quota")
}

func taskNotFound(id JobID, role string, index int) error {
	return pai.Errorf(pai.CodeNotFound, fmt.Sprintf("list its tasks; run: paictl job show %s", id), "job %s has no task %s %d", id, role, index)
}
