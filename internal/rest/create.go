package rest

import (
	"context"
	"math/rand/v2"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
)

// create makes the job's one object. Its name belongs to user and job, so
// within a virtual cluster the API itself refuses a second one. Across virtual
// clusters it is accepted only if a look after its creation finds no other:
// of any two, the later one's look sees the earlier one. Two that see each
// other both give way, and try again at another moment: neither can know
// whether the other had looked before.
func (c *Core) create(ctx context.Context, id JobID, obj *unstructured.Unstructured) error {
	for {
		if there, err := c.named(ctx, id); err != nil {
			return err
		} else if len(there) > 0 {
			return inUse(id)
		}
		err := c.cluster.Create(ctx, obj)
		if apierrors.IsAlreadyExists(err) {
			return inUse(id)
		}
		if err != nil {
			return apiError("create the job", err)
		}
		there, err := c.named(ctx, id)
		if err != nil || len(there) <= 1 {
			return nil // the job is there; a look that failed does not change that
		}
		if err := c.undoCreate(ctx, obj); err != nil {
			return err
		}
	}
}

// maxBackoff is the longest that one that gave way stays away, many times what a
// creation and a look take.
const maxBackoff = 500 * time.Millisecond

// undoCreate deletes a job whose name another has too, waits until it is gone,
// and for a moment that no other waits for. It has not run: it was created
// suspended a moment ago, or Kueue was very quick.
func (c *Core) undoCreate(ctx context.Context, obj *unstructured.Unstructured) error {
	sets := c.cluster.Dynamic().Resource(job.JobSets).Namespace(obj.GetNamespace())
	made, err := sets.Get(ctx, obj.GetName(), metav1.GetOptions{})
	if err == nil {
		err = c.cluster.Delete(ctx, kube.RefOf(made), made.GetUID())
	}
	for gone := false; err == nil && !gone; {
		if err = pause(ctx, rand.N(maxBackoff)); err != nil {
			break
		}
		var now *unstructured.Unstructured
		now, err = sets.Get(ctx, obj.GetName(), metav1.GetOptions{})
		gone = err == nil && now.GetUID() != made.GetUID()
	}
	if err != nil && !apierrors.IsNotFound(err) {
		return apiError("take back a job whose name is in use", err)
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

func inUse(id JobID) error {
	return pai.Errorf(pai.CodeConflict, "give the job another name", "there already is a job %s", id)
}
