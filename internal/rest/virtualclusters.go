package rest

import (
	"context"
	"net/http"
	"slices"

	"github.com/go-chi/chi/v5"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
)

// VirtualClusterUse is what a virtual cluster has and who uses it. Figures are of the jobs
// of all users, unless they are called mine: those are of the caller.
type VirtualClusterUse struct {
	Name string `json:"name"`
	// CanSubmit reports whether the caller can submit jobs to it.
	CanSubmit bool          `json:"canSubmit"`
	Resources []ResourceUse `json:"resources"` // CPU, memory, and GPUs
	// Running is how many jobs hold a part of it, and Waiting how many are in its queue.
	Running     int `json:"running"`
	Waiting     int `json:"waiting"`
	MineRunning int `json:"mineRunning"`
	MineWaiting int `json:"mineWaiting"`
	// Queue are the first jobs in its queue that the caller can see, in its order. A list
	// of virtual clusters does not have it.
	Queue []QueuedJob `json:"queue,omitempty"`
}

// ResourceUse is the use of one resource: cores, MiB, or GPUs.
type ResourceUse struct {
	Resource string `json:"resource"` // cpu, memoryMB, or gpu
	// Limit is what the virtual cluster has; nothing if it has no limit.
	Limit *float64 `json:"limit,omitempty"`
	// Used is what jobs hold, and Mine the part of the caller.
	Used float64 `json:"used"`
	Mine float64 `json:"mine"`
	// Borrowed is the part of Used beyond the limit, and Lent the part of the limit that
	// jobs of other virtual clusters keep from the jobs of this one.
	Borrowed float64 `json:"borrowed"`
	Lent     float64 `json:"lent"`
	// Free is what a job can have now, with what it can borrow; nothing without a limit.
	Free *float64 `json:"free,omitempty"`
}

// QueuedJob is a job in the queue of a virtual cluster.
type QueuedJob struct {
	// Position counts all jobs in the queue, from 1.
	Position int    `json:"position"`
	ID       string `json:"id"` // user~name
	// Asks is what the job asks for, if the caller can read the job.
	Asks *job.Resources `json:"asks,omitempty"`
	// Why is why the job waits: of the first one that the caller can read.
	Why string `json:"why,omitempty"`
}

// maxQueued is how many jobs of a queue an answer names.
const maxQueued = 100

// countedResource is a resource of an answer.
type countedResource struct {
	name, kueue string
	unit        float64 // how many units of Kueue are one
	unlimited   int64   // what Kueue has as "no limit"
}

func countedResources() []countedResource {
	return []countedResource{{"cpu", "cpu", 1000, 1e9}, {"memoryMB", "memory", 1 << 20, 1000 << 40}, {"gpu", gpuResource, 1, 1e6}}
}

// VirtualClusterUse implements ClusterAPI.
func (c *Core) VirtualClusterUse(ctx context.Context) ([]VirtualClusterUse, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return reading(ctx, func(ctx context.Context) ([]VirtualClusterUse, error) {
		quotas, err := c.quotas(ctx)
		if err != nil {
			return nil, err
		}
		all := []VirtualClusterUse{}
		for _, vc := range slices.Sorted(slices.Values(c.virtualClusters)) {
			use, _, err := c.useOf(ctx, vc, quotas)
			if err != nil {
				return nil, err
			}
			all = append(all, use)
		}
		return all, nil
	})
}

// QueueOf implements ClusterAPI.
func (c *Core) QueueOf(ctx context.Context, vc string) (VirtualClusterUse, error) {
	if !slices.Contains(c.virtualClusters, vc) {
		return VirtualClusterUse{}, pai.Errorf(pai.CodeNotFound, "list the virtual clusters; run: paictl vc list", "virtual cluster %q not found", vc)
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return reading(ctx, func(ctx context.Context) (VirtualClusterUse, error) {
		quotas, err := c.quotas(ctx)
		if err != nil {
			return VirtualClusterUse{}, err
		}
		use, queue, err := c.useOf(ctx, vc, quotas)
		if err == nil {
			use.Queue, err = c.visibleQueue(ctx, queue)
		}
		return use, err
	})
}

// useOf adds up the jobs of a virtual cluster, and returns those in its queue, in its order.
func (c *Core) useOf(ctx context.Context, vc string, quotas map[string]quotas) (use VirtualClusterUse, queue []job.Record, err error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return use, nil, err
	}
	records, err := c.recordsInTurn(ctx, vc)
	if err != nil {
		return use, nil, err
	}
	use = VirtualClusterUse{Name: vc, CanSubmit: caller.CanUse(vc), Resources: []ResourceUse{}}
	mine := map[string]float64{}
	for _, r := range records {
		held := r.Holding()
		isMine := held.User == caller.Name
		switch {
		case len(held.Resources) > 0:
			use.Running++
			if isMine {
				use.MineRunning++
				addTo(mine, held.Resources)
			}
		case r.Queued():
			queue = append(queue, r)
			use.Waiting++
			if isMine {
				use.MineWaiting++
			}
		}
	}
	for _, of := range countedResources() {
		use.Resources = append(use.Resources, of.use(vc, quotas[of.kueue], mine[of.kueue]))
	}
	slices.SortFunc(queue, job.CompareInQueue)
	return use, queue, nil
}

// recordsInTurn are the jobs of a virtual cluster: to read them counts as a list.
func (c *Core) recordsInTurn(ctx context.Context, vc string) ([]job.Record, error) {
	release, err := c.makeList(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	records, err := c.records(ctx, job.Namespace(vc), pai.LabelJob)
	if err != nil {
		return nil, apiError("list the jobs", err)
	}
	return records, nil
}

// addTo adds an amount, in the units of Kueue.
func addTo(sum map[string]float64, list corev1.ResourceList) {
	for name, q := range list {
		if name == corev1.ResourceCPU {
			sum[string(name)] += float64(q.MilliValue())
		} else {
			sum[string(name)] += float64(q.Value())
		}
	}
}

// use is the use of a resource of a virtual cluster.
func (of countedResource) use(vc string, all quotas, mine float64) ResourceUse {
	q := all[vc]
	scaled := func(units int64) float64 { return float64(units) / of.unit }
	use := ResourceUse{Resource: of.name, Used: scaled(q.used), Mine: mine / of.unit}
	if _, known := all[vc]; known && q.nominal < of.unlimited {
		use.Limit, use.Free = new(scaled(q.nominal)), new(scaled(all.free(vc)))
		use.Borrowed, use.Lent = scaled(q.borrowed()), scaled(all.lent(vc))
	}
	return use
}

// visibleQueue are the first jobs of a queue that the caller can see.
func (c *Core) visibleQueue(ctx context.Context, queue []job.Record) ([]QueuedJob, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	var shown []QueuedJob
	explained := false
	for i, r := range queue {
		s := r.Status(nil)
		id := JobID{s.User, s.Name}
		if len(shown) == maxQueued {
			break
		}
		if c.policy.Authorize(caller, identity.List, objectOf(id)) != nil {
			continue
		}
		q := QueuedJob{Position: i + 1, ID: id.String()}
		if c.policy.Authorize(caller, identity.Read, objectOf(id)) == nil {
			q.Asks = new(resourcesAsked(r))
			if !explained {
				explained = true
				q.Why = c.whyInQueue(ctx, s)
			}
		}
		shown = append(shown, q)
	}
	return shown, nil
}

// whyInQueue is why a job in a queue waits; empty if that is unknown.
func (c *Core) whyInQueue(ctx context.Context, s job.Status) string {
	ctx, cancel := context.WithTimeout(ctx, explainTimeout)
	defer cancel()
	obj, err := c.cluster.Dynamic().Resource(job.JobSets).Namespace(s.Namespace).Get(ctx, s.Object, metav1.GetOptions{})
	if err != nil {
		return ""
	}
	return c.whyQueued(ctx, obj)
}

func resourcesAsked(r job.Record) job.Resources {
	asks := r.Asks()
	gpus := asks[gpuResource]
	return job.Resources{CPU: float64(asks.Cpu().MilliValue()) / 1000, MemoryMB: asks.Memory().Value() >> 20, GPU: gpus.Value()}
}

func (h *Handler) useOfVirtualClusters(_ http.ResponseWriter, req *http.Request) (any, error) {
	return h.Cluster.VirtualClusterUse(req.Context())
}

func (h *Handler) useOfVirtualCluster(_ http.ResponseWriter, req *http.Request) (any, error) {
	return h.Cluster.QueueOf(req.Context(), chi.URLParam(req, "vc"))
}
