package openpai

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"pai.dev/pai/internal/job"
)

// Event is what Kubernetes reported about a task.
type Event struct {
	UID             string  `json:"uid"`
	FrameworkName   string  `json:"frameworkName"`
	PodUID          string  `json:"podUid"`
	TaskRoleName    string  `json:"taskroleName"`
	TaskName        string  `json:"taskName"`
	TaskIndex       int     `json:"taskIndex"`
	Type            string  `json:"type"`
	Reason          string  `json:"reason"`
	Message         string  `json:"message"`
	FirstTimestamp  string  `json:"firstTimestamp"`
	LastTimestamp   string  `json:"lastTimestamp"`
	Count           int     `json:"count"`
	SourceComponent string  `json:"sourceComponent"`
	SourceHost      *string `json:"sourceHost"`
}

// EventsWithCount are the events of a job.
type EventsWithCount struct {
	TotalCount int     `json:"totalCount"`
	Data       []Event `json:"data"`
}

// ReadEvent reads an event of the pod of a task.
func ReadEvent(s job.Status, role string, t job.TaskStatus, e corev1.Event) Event {
	first, last := e.FirstTimestamp.Time, e.LastTimestamp.Time
	if first.IsZero() {
		first = e.EventTime.Time
	}
	if last.IsZero() {
		last = first
	}
	component := e.Source.Component
	if component == "" {
		component = e.ReportingController
	}
	return Event{
		UID: string(e.UID), FrameworkName: s.User + "~" + s.Name, PodUID: string(e.InvolvedObject.UID), TaskRoleName: role, TaskName: t.Pod, TaskIndex: t.Index,
		Type: e.Type, Reason: e.Reason, Message: e.Message, FirstTimestamp: first.UTC().Format(time.RFC3339), LastTimestamp: last.UTC().Format(time.RFC3339),
		Count: max(1, int(e.Count)), SourceComponent: component, SourceHost: text(e.Source.Host),
	}
}

// Resources are an amount of what machines have. CPU and VCores are the same, and so
// are GPU and GPUs.
type Resources struct {
	CPU    int64 `json:"cpu"`
	VCores int64 `json:"vCores"`
	Memory int64 `json:"memory"` // MB
	GPU    int64 `json:"gpu"`
	GPUs   int64 `json:"GPUs"`
}

// NewResources returns an amount.
func NewResources(cpu, memoryMB, gpu int64) Resources {
	return Resources{CPU: cpu, VCores: cpu, Memory: memoryMB, GPU: gpu, GPUs: gpu}
}

// VirtualCluster is the capacity of a virtual cluster. The first three are percentages
// of the cluster.
type VirtualCluster struct {
	Capacity            float64   `json:"capacity"`
	UsedCapacity        float64   `json:"usedCapacity"`
	MaxCapacity         float64   `json:"maxCapacity"`
	Dedicated           bool      `json:"dedicated"`
	ResourcesUsed       Resources `json:"resourcesUsed"`
	ResourcesGuaranteed Resources `json:"resourcesGuaranteed"`
	ResourcesTotal      Resources `json:"resourcesTotal"`
}

// Capacity returns the capacity of a virtual cluster from its quota, the most that it can
// use with what it borrows, what is used, and what the cluster has.
func Capacity(quota, most, used, cluster Resources) VirtualCluster {
	quota, most = quota.atMost(cluster), most.atMost(cluster)
	return VirtualCluster{Capacity: percent(quota, cluster), MaxCapacity: percent(most, cluster), UsedCapacity: percent(used, cluster),
		ResourcesUsed: used, ResourcesGuaranteed: quota, ResourcesTotal: most}
}

func (r Resources) atMost(other Resources) Resources {
	return NewResources(min(r.CPU, other.CPU), min(r.Memory, other.Memory), min(r.GPU, other.GPU))
}

// percent compares GPUs if the cluster has any, and cores otherwise.
func percent(part, all Resources) float64 {
	switch {
	case all.GPU > 0:
		return 100 * float64(part.GPU) / float64(all.GPU)
	case all.CPU > 0:
		return 100 * float64(part.CPU) / float64(all.CPU)
	}
	return 0
}

// SKU is a kind of share of a machine that a task can have.
type SKU struct {
	GPU    int64 `json:"gpu"`
	CPU    int64 `json:"cpu"`
	Memory int64 `json:"memory"` // MB
}
