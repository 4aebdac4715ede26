package witness

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

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
			roles, err := w.failedRoles(ctx, namespace, object)
			if err != nil {
				return
			}
			set.Failed = set.Failed || len(roles) > 0
			w.ledger.recordRoles(key, roles)
			w.ledger.recordJob(key, set, true, read)
		case apierrors.IsNotFound(err):
			w.ledger.recordJob(key, running.JobSet{}, false, read)
		default:
			return
		}
	}
}

// failedRoles reads which task roles of a job have failed, or are about to, and why: the
// Job of a role ends its pods before the JobSet has failed.
func (w *Witness) failedRoles(ctx context.Context, namespace, object string) ([]failedRole, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	list, err := w.core.BatchV1().Jobs(namespace).List(ctx, metav1.ListOptions{LabelSelector: labelJobSet + "=" + object})
	if err != nil {
		return nil, fmt.Errorf("list the roles of job %s: %w", object, err)
	}
	var roles []failedRole
	for _, role := range list.Items {
		if r, failed := readFailedRole(role); failed {
			roles = append(roles, r)
		}
	}
	return roles, nil
}

// labelJobSet names the JobSet of a Job (sigs.k8s.io/jobset JobSetNameKey).
const labelJobSet = "jobset.sigs.k8s.io/jobset-name"

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
