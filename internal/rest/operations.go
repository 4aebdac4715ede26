package rest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
)

// JobOperation is what an operation of the operators meant for one job.
type JobOperation struct {
	ID      string      `json:"id"`
	Verb    pai.Verb    `json:"verb"`
	From    pai.Pair    `json:"from"`
	To      pai.Pair    `json:"to"`
	Outcome pai.Outcome `json:"outcome"`
	Started time.Time   `json:"started"`
	Ended   time.Time   `json:"ended"`
	pai.JobLine
	// Failed, Interrupted and Unknown are the containers of the job that ended.
	Failed      []pai.ContainerEnd `json:"failed,omitempty"`
	Interrupted []pai.ContainerEnd `json:"interrupted,omitempty"`
	Unknown     []pai.ContainerEnd `json:"unknown,omitempty"`
}

// Operations implements JobAPI. It reads the reports that operations publish.
func (c *Core) Operations(ctx context.Context, id JobID) ([]JobOperation, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return reading(ctx, func(ctx context.Context) ([]JobOperation, error) { return c.operations(ctx, id) })
}

func (c *Core) operations(ctx context.Context, id JobID) ([]JobOperation, error) {
	obj, err := c.find(ctx, id)
	if err != nil {
		return nil, err
	}
	s, err := job.ReadStatus(obj, nil)
	if err != nil {
		return nil, err
	}
	list, err := c.cluster.Clientset().CoreV1().ConfigMaps(pai.SystemNamespace).List(ctx, metav1.ListOptions{LabelSelector: pai.LabelOperation})
	if err != nil {
		return nil, apiError("list the reports of operations", err)
	}
	operations := []JobOperation{}
	for _, cm := range list.Items {
		some, err := operationsOf(s, cm)
		if err != nil {
			return nil, err
		}
		operations = append(operations, some...)
	}
	slices.SortFunc(operations, func(a, b JobOperation) int { return cmp.Compare(a.ID, b.ID) })
	return operations, nil
}

// operationsOf reads a published report; nothing if it is not about the job. An
// earlier job can have had the same name.
func operationsOf(s job.Status, cm corev1.ConfigMap) ([]JobOperation, error) {
	var r pai.PublishedReport
	if err := json.Unmarshal([]byte(cm.Data[pai.ReportKey]), &r); err != nil {
		return nil, fmt.Errorf("read the report in ConfigMap %s/%s: %w", cm.Namespace, cm.Name, err)
	}
	i := slices.IndexFunc(r.PerJob, func(l pai.JobLine) bool { return l.Job == s.String() && l.VirtualCluster == s.VirtualCluster })
	if i < 0 || r.Started.Before(s.Created) {
		return nil, nil
	}
	of := func(list []pai.ContainerEnd) []pai.ContainerEnd {
		return slices.DeleteFunc(list, func(e pai.ContainerEnd) bool { return e.Job != s.String() || e.VirtualCluster != s.VirtualCluster })
	}
	return []JobOperation{{ID: r.ID, Verb: r.Verb, From: r.From, To: r.To, Outcome: r.Outcome, Started: r.Started, Ended: r.Ended, JobLine: r.PerJob[i],
		Failed: of(r.Jobs.Failed), Interrupted: of(r.Jobs.Interrupted), Unknown: of(r.Jobs.Unknown)}}, nil
}
