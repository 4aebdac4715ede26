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
	"pai.dev/pai/internal/poll"
)

// create makes the JobSet of a job. User and job name give it its name, so the
// API refuses a second one in the same virtual cluster. Another virtual cluster
// could have one: create lists them again after the creation. Of two submissions
// at the same time, at least the later one sees both JobSets. A submission that
// sees another undoes its own and tries again after a random time, because
// neither knows what the other saw.
func (c *Core) create(ctx context.Context, id JobID, obj *unstructured.Unstructured) error {
	for {
		if sets, err := c.named(ctx, id); err != nil {
			return err
		} else if len(sets) > 0 {
			return inUse(id)
		}
		err := c.cluster.Create(ctx, obj)
		if apierrors.IsAlreadyExists(err) {
			return inUse(id)
		}
		if err != nil {
			return apiError("create the job", err)
		}
		sets, err := c.named(ctx, id)
		if err != nil || len(sets) <= 1 {
			return nil // the job exists, also if this list failed
		}
		if err := c.undoCreate(ctx, obj); err != nil {
			return err
		}
	}
}

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
