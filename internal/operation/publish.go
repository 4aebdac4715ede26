package operation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/run"
)

const (
	// publishTimeout bounds the publication of reports.
	publishTimeout = 10 * time.Second
	// maxPublished is how many reports that are missing one operation publishes.
	maxPublished = 10
)

// publishReports publishes the report of this operation in the cluster, and those
// that earlier operations could not publish. It removes those that the journal no
// longer has. It is not what the operator asked for, so an error is only reported.
func (o *operation) publishReports(ctx context.Context) {
	store, err := o.Store()
	succeeded := o.record.Outcome == pai.OutcomeSucceeded
	switch {
	case err != nil || o.record.ID == "" || o.lock.Err() != nil:
		return
	case o.goal.Verb() == pai.VerbClean, !succeeded && !o.preview.world.APIReachable:
		return // there is no API
	}
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), publishTimeout, fmt.Errorf("not done within %s", publishTimeout))
	defer cancel()
	client, err := o.Kube(ctx)
	if err == nil {
		err = publish(ctx, clusterReports{client.WithRetryTimeout(publishTimeout)}, run.NewJournal(store), o.record.ID)
	}
	if err != nil {
		o.Progressf("could not publish the report of the operation in the cluster; the next operation does: %v", err)
	}
}

// publishedReports are the reports in the cluster.
type publishedReports interface {
	// List returns the reports by operation.
	List(ctx context.Context) (map[string]metav1.ObjectMeta, error)
	Write(ctx context.Context, r pai.PublishedReport) error
	Remove(ctx context.Context, o metav1.ObjectMeta) error
}

// publish makes the reports in the cluster those of the journal. The report of own
// is written in any case. Others are written if they are newer than all that are
// published: nothing else can miss, except after a restore of etcd.
func publish(ctx context.Context, reports publishedReports, journal *run.Journal, own string) error {
	ids, err := journal.IDs(ctx)
	if err != nil {
		return err
	}
	published, err := reports.List(ctx)
	if err != nil {
		return err
	}
	newest := ""
	for id := range published {
		newest = max(newest, id)
	}
	var problems []error
	for _, id := range ids[max(0, len(ids)-maxPublished):] {
		if id <= newest && id != own {
			continue
		}
		op, err := journal.Get(ctx, id)
		if err == nil && op.Outcome != pai.OutcomeRunning {
			err = reports.Write(ctx, op.Published())
		}
		problems = append(problems, err)
	}
	for id, o := range published {
		if !slices.Contains(ids, id) {
			problems = append(problems, reports.Remove(ctx, o))
		}
	}
	return errors.Join(problems...)
}

// clusterReports are ConfigMaps in the namespace of PAI.
type clusterReports struct{ client *kube.Client }

func (c clusterReports) List(ctx context.Context) (map[string]metav1.ObjectMeta, error) {
	list, err := c.client.Clientset().CoreV1().ConfigMaps(pai.SystemNamespace).List(ctx, metav1.ListOptions{LabelSelector: pai.LabelOperation})
	if err != nil {
		return nil, fmt.Errorf("list the published reports: %w", err)
	}
	reports := map[string]metav1.ObjectMeta{}
	for _, cm := range list.Items {
		reports[cm.Labels[pai.LabelOperation]] = cm.ObjectMeta
	}
	return reports, nil
}

func (c clusterReports) Write(ctx context.Context, r pai.PublishedReport) error {
	data, err := r.Encode(pai.MaxReport)
	if err != nil {
		return err
	}
	if err := c.client.EnsureNamespace(ctx, pai.SystemNamespace); err != nil {
		return err
	}
	_, err = c.client.Apply(ctx, []*unstructured.Unstructured{{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": pai.ReportName(r.ID), "namespace": pai.SystemNamespace,
			"labels": map[string]any{pai.LabelOperation: r.ID}},
		"data": map[string]any{pai.ReportKey: string(data)},
	}}}, kube.ApplyOptions{})
	return err
}

func (c clusterReports) Remove(ctx context.Context, o metav1.ObjectMeta) error {
	return c.client.Delete(ctx, kube.Ref{Version: "v1", Kind: "ConfigMap", Namespace: o.Namespace, Name: o.Name}, o.UID)
}
