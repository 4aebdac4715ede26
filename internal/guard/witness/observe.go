package witness

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/observe/running"
)

// observeAPI lists the pods of jobs, in case a watch hangs.
func (w *Witness) observeAPI(ctx context.Context) {
	list, err := w.listPods(ctx)
	w.recordObservation("API", err)
	if err != nil {
		return
	}
	now := time.Now()
	w.ledger.recordAllPods(list.Items, now)
	w.ledger.settleOverdue(now)
	w.unobserved.observed(now)
}

// observeMachines observes the machines with watched containers.
func (w *Witness) observeMachines(ctx context.Context) {
	names := w.ledger.runningMachines()
	reports := w.readMachines(ctx, names)
	missing := func(name string) bool { r, read := reports[name]; return !read || r.Err != nil }
	if w.o.Machines != nil && !slices.ContainsFunc(names, missing) {
		w.unobserved.observed(time.Now())
	}
}

// readMachines lists the living containers on machines, and records them.
func (w *Witness) readMachines(ctx context.Context, names []string) map[string]running.MachineReport {
	if w.o.Machines == nil {
		return nil
	}
	asked := time.Now()
	reports := w.o.Machines(ctx, names)
	now := time.Now()
	for name, report := range reports {
		w.recordObservation(name, report.Err)
		w.ledger.recordMachine(name, report, asked, now)
	}
	return reports
}

// settle reads the objects of the jobs with pending ends, and what the kubelets
// report about these ends.
func (w *Witness) settle(ctx context.Context) {
	if err := w.explain(ctx); err != nil {
		return // the API is unavailable; the next round tries again
	}
	for _, key := range w.ledger.unsettledJobs() {
		namespace, object, _ := strings.Cut(key, "/")
		read := time.Now()
		requestCtx, cancel := context.WithTimeout(ctx, requestTimeout)
		o, err := w.objects.Resource(running.JobSets()).Namespace(namespace).Get(requestCtx, object, metav1.GetOptions{})
		cancel()
		switch {
		case err == nil:
			set := running.ReadJobSet(o)
			if set.Failed, err = w.jobFails(ctx, namespace, object, set.Failed); err != nil {
				return
			}
			w.ledger.recordJob(key, set, true, read)
		case apierrors.IsNotFound(err):
			w.ledger.recordJob(key, running.JobSet{}, false, read)
		default:
			return
		}
	}
}

// jobFails reports whether a job has failed, or one of its task roles has: the Job of
// a role ends its pods before the JobSet has failed.
func (w *Witness) jobFails(ctx context.Context, namespace, object string, failed bool) (bool, error) {
	if failed {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	roles, err := w.core.BatchV1().Jobs(namespace).List(ctx, metav1.ListOptions{LabelSelector: labelJobSet + "=" + object})
	if err != nil {
		return false, fmt.Errorf("list the roles of job %s: %w", object, err)
	}
	return slices.ContainsFunc(roles.Items, roleFails), nil
}

// labelJobSet names the JobSet of a Job (sigs.k8s.io/jobset JobSetNameKey).
const labelJobSet = "jobset.sigs.k8s.io/jobset-name"

func roleFails(role batchv1.Job) bool {
	return slices.ContainsFunc(role.Status.Conditions, func(c batchv1.JobCondition) bool {
		return (c.Type == batchv1.JobFailureTarget || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue
	})
}

// recordObservation records why the API or a machine was not observed, or that
// it was.
func (w *Witness) recordObservation(what string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.failures, what)
	if err != nil {
		w.failures[what] = err.Error()
	}
}
