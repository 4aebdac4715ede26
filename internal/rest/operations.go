package rest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

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
	reports, _, err := c.reports(ctx)
	if err != nil {
		return nil, err
	}
	operations := []JobOperation{}
	for _, r := range reports {
		operations = append(operations, operationsOf(s, r)...)
	}
	slices.SortFunc(operations, func(a, b JobOperation) int { return cmp.Compare(a.ID, b.ID) })
	return operations, nil
}

// reports reads the reports that operations publish, in no order. One that cannot be read
// does not hide the others.
func (c *Core) reports(ctx context.Context) (reports []pai.PublishedReport, unread []error, err error) {
	list, err := c.cluster.Clientset().CoreV1().ConfigMaps(pai.SystemNamespace).List(ctx, metav1.ListOptions{LabelSelector: pai.LabelOperation})
	if err != nil {
		return nil, nil, apiError("list the reports of operations", err)
	}
	for _, cm := range list.Items {
		var r pai.PublishedReport
		if err := json.Unmarshal([]byte(cm.Data[pai.ReportKey]), &r); err != nil {
			unread = append(unread, fmt.Errorf("read the report in ConfigMap %s/%s: %w", cm.Namespace, cm.Name, err))
			continue
		}
		reports = append(reports, r)
	}
	return reports, unread, nil
}

// operationsOf is what a report says about a job; nothing if it is not about the job. An
// earlier job can have had the same name.
func operationsOf(s job.Status, r pai.PublishedReport) []JobOperation {
	i := slices.IndexFunc(r.PerJob, func(l pai.JobLine) bool { return l.Job == s.String() && l.VirtualCluster == s.VirtualCluster })
	if i < 0 || r.Started.Before(s.Created) {
		return nil
	}
	return []JobOperation{jobOperation(r, r.PerJob[i])}
}

// jobOperation is what a report says about the job of one of its lines.
func jobOperation(r pai.PublishedReport, l pai.JobLine) JobOperation {
	of := func(list []pai.ContainerEnd) (ends []pai.ContainerEnd) {
		for _, e := range list {
			if e.Job == l.Job && e.VirtualCluster == l.VirtualCluster {
				ends = append(ends, e)
			}
		}
		return ends
	}
	return JobOperation{ID: r.ID, Verb: r.Verb, From: r.From, To: r.To, Outcome: r.Outcome, Started: r.Started, Ended: r.Ended, JobLine: l,
		Failed: of(r.Jobs.Failed), Interrupted: of(r.Jobs.Interrupted), Unknown: of(r.Jobs.Unknown)}
}
