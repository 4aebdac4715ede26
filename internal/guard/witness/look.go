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

// lookAtAPI lists the jobs' pods: what a watch that hangs would not show.
func (w *Witness) lookAtAPI(ctx context.Context) {
	list, err := w.listPods(ctx)
	if err != nil {
		w.couldNotLook("API", err)
		return
	}
	now := time.Now()
	w.ledger.sawAllPods(list.Items, now)
	w.ledger.overdue(now, unexplainedAfter)
	w.couldLook("API")
	w.dark.saw(now)
}

// lookAtMachines asks the machines with watched containers which of these live.
func (w *Witness) lookAtMachines(ctx context.Context) {
	if err := w.askMachines(ctx); err == nil {
		w.dark.saw(time.Now())
	}
}

// askMachines is nil when every machine with watched containers answered.
func (w *Witness) askMachines(ctx context.Context) error {
	if w.o.Machines == nil {
		return errors.New("no machine can be asked")
	}
	names := w.ledger.openMachines()
	asked := time.Now()
	answers := w.o.Machines(ctx, names)
	now := time.Now()
	var failures []error
	for _, name := range names {
		answer, given := answers[name]
		if !given {
			answer.Err = errors.New("there is no answer from machine " + name)
		}
		if answer.Err != nil {
			failures = append(failures, answer.Err)
			w.couldNotLook(name, answer.Err)
			continue
		}
		w.couldLook(name)
		w.ledger.sawMachine(name, answer, asked, now)
	}
	return errors.Join(failures...)
}

// settle reads the objects of the jobs of which an end was seen.
func (w *Witness) settle(ctx context.Context) {
	for _, key := range w.ledger.suspects() {
		namespace, object, _ := strings.Cut(key, "/")
		read := time.Now()
		requestCtx, cancel := context.WithTimeout(ctx, requestTimeout)
		o, err := w.objects.Resource(running.JobSets()).Namespace(namespace).Get(requestCtx, object, metav1.GetOptions{})
		cancel()
		switch {
		case err == nil:
			w.ledger.sawJob(key, running.ReadJobSet(o), true, read)
		case apierrors.IsNotFound(err):
			w.ledger.sawJob(key, running.JobSet{}, false, read)
		default:
			return // the API is away; the next round asks again
		}
	}
}

func (w *Witness) couldLook(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.unwatched, what)
}

func (w *Witness) couldNotLook(what string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unwatched[what] = err.Error()
}
