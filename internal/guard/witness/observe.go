package witness

import (
	"context"
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
	w.ledger.interruptUnexplained(now, unexplainedAfter)
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

// settle reads the objects of the jobs with pending ends.
func (w *Witness) settle(ctx context.Context) {
	for _, key := range w.ledger.unsettledJobs() {
		namespace, object, _ := strings.Cut(key, "/")
		read := time.Now()
		requestCtx, cancel := context.WithTimeout(ctx, requestTimeout)
		o, err := w.objects.Resource(running.JobSets()).Namespace(namespace).Get(requestCtx, object, metav1.GetOptions{})
		cancel()
		switch {
		case err == nil:
			w.ledger.recordJob(key, running.ReadJobSet(o), true, read)
		case apierrors.IsNotFound(err):
			w.ledger.recordJob(key, running.JobSet{}, false, read)
		default:
			return // the API is unavailable; the next round tries again
		}
	}
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
