package rest

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"

	"pai.dev/pai/internal/history"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/rest/openpai"
)

// ClusterAPI is what clients of OpenPAI need besides JobAPI. Core implements it.
type ClusterAPI interface {
	// Page returns a page of the jobs that the caller can see.
	Page(ctx context.Context, q history.Query) (JobPage, error)
	// Living returns a job that the cluster has.
	Living(ctx context.Context, id JobID) (job.Status, error)
	// AddTag and RemoveTag change the tags of a job. The error of RemoveTag is
	// CodeNotFound if the job does not have the tag.
	AddTag(ctx context.Context, id JobID, tag string) error
	RemoveTag(ctx context.Context, id JobID, tag string) error
	// Events returns what Kubernetes reported about the pods of a job.
	Events(ctx context.Context, id JobID) ([]openpai.Event, error)
	// VirtualClusters returns the capacity of the virtual clusters by name.
	VirtualClusters(ctx context.Context) (map[string]openpai.VirtualCluster, error)
	// VirtualClusterUse returns the use of the virtual clusters, by name, without their
	// queues.
	VirtualClusterUse(ctx context.Context) ([]VirtualClusterUse, error)
	// QueueOf returns the use of a virtual cluster with its queue. The error is
	// CodeNotFound if it does not exist.
	QueueOf(ctx context.Context, vc string) (VirtualClusterUse, error)
	// NodeUse returns the GPUs of the machines that jobs use, by machine.
	NodeUse(ctx context.Context) (map[string]NodeUse, error)
	// Kinds returns the kinds of machines, by name.
	Kinds(ctx context.Context) ([]job.Kind, error)
	// Nodes returns the machines as Kubernetes shows them.
	Nodes(ctx context.Context) (*corev1.NodeList, error)
	// Pods returns pods of jobs, those of one namespace if it is not empty.
	Pods(ctx context.Context, namespace, labels string) (*corev1.PodList, error)
}

// History reads earlier attempts of jobs. Recorded implements it; without a database,
// only the newest attempt is known.
type History interface {
	// Attempt returns a job as its attempt was; CodeNotFound if it is not known.
	Attempt(ctx context.Context, id JobID, attempt int) (job.Status, error)
	// Attempts returns the attempts that are known, the newest first. incomplete says why
	// others are missing.
	Attempts(ctx context.Context, id JobID) (all []job.Status, incomplete string, err error)
}

var (
	_ ClusterAPI = (*Core)(nil)
	_ History    = newestOnly{}
)

// newestOnly is the history without a database.
type newestOnly struct{ jobs JobAPI }

func (h newestOnly) Attempt(ctx context.Context, id JobID, attempt int) (job.Status, error) {
	s, err := h.jobs.Get(ctx, id)
	if err == nil && s.Retries != attempt {
		return job.Status{}, noJob(id)
	}
	return s, err
}

func (h newestOnly) Attempts(ctx context.Context, id JobID) ([]job.Status, string, error) {
	s, err := h.jobs.Get(ctx, id)
	return []job.Status{s}, "", err
}

var errNoTag = errors.New("tag not found")
