package witness

import (
	"context"
	"errors"
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

// observeMachines lists the living containers on the machines with watched
// containers.
func (w *Witness) observeMachines(ctx context.Context) {
	if w.o.Machines == nil {
		return
	}
	names := w.ledger.runningMachines()
	asked := time.Now()
	reports := w.o.Machines(ctx, names)
	now := time.Now()
	complete := true
	for _, name := range names {
		report, given := reports[name]
		if !given {
			report.Err = errors.New("no report from machine " + name)
		}
		w.recordObservation(name, report.Err)
		if report.Err == nil {
			w.ledger.recordMachine(name, report, asked, now)
		}
		complete = complete && report.Err == nil
	}
	if complete {
		w.unobserved.observed(time.Now())
	}
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
