package rest

import (
	"context"
	crand "crypto/rand"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/poll"
)

// create makes the objects of a job: its texts, their Secret, then the JobSet that refers
// to them. The job exists as soon as its JobSet does; ReconcileTexts completes the rest if
// this server is killed.
func (c *Core) create(ctx context.Context, id JobID, o job.Objects) error {
	if err := c.requireUnused(ctx, id); err != nil {
		return err
	}
	if err := c.createWithQuota(ctx, o.Texts); err != nil {
		return apiError("store the text of the job", err)
	}
	if err := c.createSecret(ctx, o); err != nil {
		c.discard(ctx, o.Texts)
		return apiError("store the secrets of the job", err)
	}
	set, err := c.createSet(ctx, id, o.JobSet)
	switch {
	case err == nil && set != nil:
		_ = c.adopt(ctx, set) // ReconcileTexts repeats this if it fails
	case err != nil && !errors.Is(err, errUnavailable) && ctx.Err() == nil:
		c.discard(ctx, o.Texts)
	}
	return err
}

// createSecret makes the Secret of a job, if it has one. It belongs to the texts, and
// Kubernetes deletes it with them: the server can create Secrets and nothing else.
func (c *Core) createSecret(ctx context.Context, o job.Objects) error {
	if o.Secret == nil {
		return nil
	}
	texts, err := c.cluster.Clientset().CoreV1().ConfigMaps(o.Texts.GetNamespace()).Get(ctx, o.Texts.GetName(), metav1.GetOptions{})
	if err != nil {
		return err
	}
	secret := o.Secret.DeepCopy()
	secret.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: texts.Name, UID: texts.UID}})
	return c.createWithQuota(ctx, secret)
}

// discard deletes the texts of a job that was refused. ReconcileTexts repeats this if
// it fails.
func (c *Core) discard(ctx context.Context, texts *unstructured.Unstructured) {
	made, err := c.cluster.Clientset().CoreV1().ConfigMaps(texts.GetNamespace()).Get(ctx, texts.GetName(), metav1.GetOptions{})
	if err == nil {
		_ = c.deleteTexts(ctx, texts.GetNamespace(), made)
	}
}

// createSet makes the JobSet of a job and returns it; nil if it was made and could
// not be read. User and job name give it its name, so the API refuses a second one
// in the same virtual cluster. Another virtual cluster could have one: createSet
// lists them again after the creation. Of two submissions at the same time, at least
// the later one sees both JobSets. A submission that sees another undoes its own and
// tries again after a random time, because neither knows what the other saw.
func (c *Core) createSet(ctx context.Context, id JobID, obj *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	for {
		err := c.cluster.Create(ctx, obj)
		if apierrors.IsAlreadyExists(err) {
			return nil, inUse(id)
		}
		if err != nil {
			return nil, apiError("create the job", err)
		}
		sets, err := c.named(ctx, id)
		if err != nil || len(sets) == 0 {
			return nil, nil // the job exists, also if this list failed
		}
		if len(sets) == 1 {
			return sets[0], nil
		}
		if err := c.undoCreate(ctx, obj); err != nil {
			return nil, err
		}
		if err := c.requireUnused(ctx, id); err != nil {
			return nil, err
		}
	}
}

// createWithQuota waits for a ResourceQuota that was just created: until Kubernetes
// has counted what exists, the API server refuses every object that it limits.
func (c *Core) createWithQuota(ctx context.Context, obj *unstructured.Unstructured) error {
	var last error
	wait := poll.Wait{For: "the quota of the virtual cluster", Timeout: quotaTimeout, Every: 200 * time.Millisecond}
	err := wait.Until(ctx, func(ctx context.Context) (bool, error) {
		last = c.cluster.Create(ctx, obj)
		if apierrors.IsForbidden(last) && strings.Contains(last.Error(), "status unknown for quota") {
			return false, last
		}
		return true, nil
	})
	if last != nil {
		return last
	}
	return err
}

// quotaTimeout is many times what Kubernetes needs to count the objects of a namespace.
const quotaTimeout = 15 * time.Second

func (c *Core) requireUnused(ctx context.Context, id JobID) error {
	sets, err := c.named(ctx, id)
	if err == nil && len(sets) > 0 {
		err = inUse(id)
	}
	return err
}

// randomName is the end of a name that no other object has.
func randomName() string { return strings.ToLower(crand.Text()[:12]) }

// maxBackoff is many times the duration of a creation and a list.
const maxBackoff = 500 * time.Millisecond

// undoCreate deletes the JobSet that was just created and waits until it no
// longer exists, with random pauses. The job is suspended and has not run,
// unless Kueue was very quick.
func (c *Core) undoCreate(ctx context.Context, obj *unstructured.Unstructured) error {
	sets := c.cluster.Dynamic().Resource(job.JobSets).Namespace(obj.GetNamespace())
	made, err := sets.Get(ctx, obj.GetName(), metav1.GetOptions{})
	if err == nil {
		err = c.cluster.Delete(ctx, kube.RefOf(made), made.GetUID())
	}
	for deleted := false; err == nil && !deleted; {
		if err = poll.Sleep(ctx, rand.N(maxBackoff)); err != nil {
			break
		}
		var now *unstructured.Unstructured
		now, err = sets.Get(ctx, obj.GetName(), metav1.GetOptions{})
		deleted = err == nil && now.GetUID() != made.GetUID()
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return apiError("undo the creation of a job whose name is in use", err)
	}
	return nil
}

func inUse(id JobID) error {
	return pai.Errorf(pai.CodeConflict, "give the job another name", "job %s already exists", id)
}
