package rest

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"pai.dev/pai/internal/job"
)

const (
	// holdersFresh is how long an answer uses what was read of a virtual cluster. Who follows
	// a job that waits asks again and again.
	holdersFresh = 15 * time.Second
	// holdersTimeout is how long an answer waits for that. It says less without it.
	holdersTimeout = 5 * time.Second
)

// holders are who holds the quota of virtual clusters, read a short time ago.
type holders struct {
	mu   sync.Mutex
	byVC map[string]heldQuota
}

type heldQuota struct {
	read time.Time
	jobs []job.Holding
}

func (h *holders) fresh(vc string, now time.Time) ([]job.Holding, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	held, known := h.byVC[vc]
	return held.jobs, known && now.Sub(held.read) < holdersFresh
}

func (h *holders) keep(vc string, held heldQuota) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.byVC == nil {
		h.byVC = map[string]heldQuota{}
	}
	h.byVC[vc] = held
}

// holdersIn are the jobs that hold quota of a virtual cluster, of all users; nil if
// that is not known soon enough. To read them is one list of jobs, which counts as such.
func (c *Core) holdersIn(ctx context.Context, vc string) []job.Holding {
	if held, ok := c.holders.fresh(vc, c.now()); ok {
		return held
	}
	ctx, cancel := context.WithTimeout(ctx, holdersTimeout)
	defer cancel()
	release, err := c.makeList(ctx)
	if err != nil {
		return nil
	}
	defer release()
	if held, ok := c.holders.fresh(vc, c.now()); ok { // another request read them meanwhile
		return held
	}
	all := heldQuota{read: c.now()}
	sets := c.cluster.Dynamic().Resource(job.JobSets).Namespace(job.Namespace(vc))
	err = eachItem(ctx, "", listing(sets.List), func(obj *unstructured.Unstructured) error {
		h, err := job.ReadHolding(obj)
		if len(h.Resources) > 0 {
			all.jobs = append(all.jobs, h)
		}
		return err
	})
	if err != nil {
		return nil
	}
	c.holders.keep(vc, all)
	return all.jobs
}
