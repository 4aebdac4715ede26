package witness

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/observe/running"
	"pai.dev/pai/internal/pai"
)

// Stop takes one last complete look, ends the watch and reports. The look goes
// on until every end that was seen is settled and every other container was
// seen to live, for as long as ctx, or 45 seconds, allow; what could not be
// seen until then is reported as interrupted, with the cause "unobserved". ctx
// should not be one that the user's interruption has cancelled.
func (w *Witness) Stop(ctx context.Context) pai.Report {
	w.once.Do(func() { w.report = w.finish(ctx) })
	return w.report
}

func (w *Witness) finish(ctx context.Context) pai.Report {
	looking, cancel := context.WithTimeout(ctx, finalTimeout)
	defer cancel()
	w.stopLooking() // from here on only the last look changes the ledger
	w.looking.Wait()
	w.checkOutput(looking, w.Baseline().Jobs)
	seen := w.finalLook(looking)
	w.askWhereJobsEnded(ctx)
	jobs := w.ledger.conclude(seen, time.Now())
	w.stopSampling()
	w.sampling.Wait()
	w.pulse.close()
	counted := w.countedUntil(time.Now())
	w.save(context.WithoutCancel(ctx)) // the journal keeps the end even when time is up
	return pai.Report{
		Jobs:              jobs,
		API:               pai.APIReport{Availability: counted.New, Kept: counted.Kept},
		SubmissionSeconds: counted.Submission.OutageSeconds,
		UnobservedSeconds: counted.UnobservedSeconds,
	}
}

// lastSeen is what a complete look found: the containers that live, and why
// the others are not known to.
type lastSeen struct {
	alive  map[string]bool
	reason string
}

// finalLook looks until nothing is left open, or ctx ends.
func (w *Witness) finalLook(ctx context.Context) lastSeen {
	for {
		seen, err := w.lookOnce(ctx)
		if err == nil && !w.ledger.undecided() && w.ledger.allIn(seen.alive) {
			return seen
		}
		if err != nil {
			seen.reason = err.Error()
		}
		select {
		case <-ctx.Done():
			return seen
		case <-time.After(settleEvery):
		}
	}
}

// askWhereJobsEnded asks the machines on which containers were interrupted what
// became of them: whether they died is not for the API to say. It has a time of
// its own, because a last look that took all of its says nothing of a machine.
func (w *Witness) askWhereJobsEnded(ctx context.Context) {
	names := w.ledger.hurtMachines()
	if len(names) == 0 || w.o.Machines == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	asked := time.Now()
	for name, m := range w.o.Machines(ctx, names) {
		if m.Err == nil {
			w.ledger.sawMachine(name, m, asked, time.Now())
		} else {
			w.ledger.sawSilence(name, m.Err)
		}
	}
}

// lookOnce asks the API and the machines. A container lives when its machine
// shows it or, where the machine cannot be asked, when the API does and the
// machine's kubelet reports; where both speak, both must say so.
func (w *Witness) lookOnce(ctx context.Context) (lastSeen, error) {
	seen := lastSeen{alive: map[string]bool{}}
	names := w.ledger.openMachines()
	if len(names) == 0 {
		return seen, nil
	}
	byMachine := map[string]running.MachineReport{}
	if w.o.Machines != nil {
		asked := time.Now()
		byMachine = w.o.Machines(ctx, names)
		for name, m := range byMachine {
			if m.Err == nil {
				w.ledger.sawMachine(name, m, asked, time.Now())
			}
		}
	}
	pods, ready, errAPI := w.lastOfAPI(ctx)
	if errAPI == nil {
		w.ledger.sawAllPods(pods, time.Now())
		w.settle(ctx)
		w.dark.saw(time.Now())
	}
	w.ledger.addAlive(seen.alive, pods, ready, byMachine, errAPI == nil)
	var failures []error
	for _, name := range names {
		if m, asked := byMachine[name]; asked && m.Err != nil {
			failures = append(failures, m.Err)
		}
	}
	if errAPI != nil {
		return seen, errors.Join(append(failures, errAPI)...)
	}
	if len(failures) > 0 {
		seen.reason = errors.Join(failures...).Error()
	}
	return seen, nil
}

// lastOfAPI reads the jobs' pods and which machines' kubelets report.
func (w *Witness) lastOfAPI(ctx context.Context) ([]corev1.Pod, map[string]bool, error) {
	list, err := w.listPods(ctx)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	nodes, err := w.core.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, nil, fmt.Errorf("list the nodes: %w", err)
	}
	ready := map[string]bool{}
	for _, n := range nodes.Items {
		for _, c := range n.Status.Conditions {
			if c.Type == corev1.NodeReady {
				ready[n.Name] = c.Status == corev1.ConditionTrue
			}
		}
	}
	return list.Items, ready, nil
}

// addAlive adds the containers that a look found alive.
func (l *ledger) addAlive(alive map[string]bool, pods []corev1.Pod, ready map[string]bool, machines map[string]running.MachineReport, apiSpeaks bool) {
	byUID := map[string]*corev1.Pod{}
	for i := range pods {
		byUID[string(pods[i].UID)] = &pods[i]
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.eachRunning(func(_ *WatchedJob, c *WatchedContainer) {
		pod := byUID[c.PodUID]
		api := pod != nil && judge(c, pod).sign == signAlive
		m, asked := machines[c.Machine]
		machine := slices.ContainsFunc(m.Containers, func(r running.Container) bool { return r.ID == c.ID })
		switch {
		case asked && m.Err == nil && apiSpeaks:
			alive[c.ID] = api && machine
		case asked && m.Err == nil:
			alive[c.ID] = machine
		case apiSpeaks:
			alive[c.ID] = api && ready[c.Machine]
		}
	})
}

// allIn reports whether every container whose fate is open is in alive.
func (l *ledger) allIn(alive map[string]bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := true
	l.eachRunning(func(_ *WatchedJob, c *WatchedContainer) { all = all && alive[c.ID] })
	return all
}

// conclude counts the jobs after the last look. What that did not show alive
// is unobserved, and so interrupted.
func (l *ledger) conclude(seen lastSeen, now time.Time) pai.JobsReport {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.eachRunning(func(j *WatchedJob, c *WatchedContainer) {
		if seen.alive[c.ID] && c.suspicion == nil {
			return
		}
		c.suspicion = unobserved(c.suspicion, seen.reason, l.steps.at(now), now)
		c.interrupted(j)
	})
	report := pai.JobsReport{Before: len(l.jobs), Interrupted: []pai.Interruption{}}
	for _, j := range l.jobs {
		switch {
		case slices.ContainsFunc(j.Containers, func(c *WatchedContainer) bool { return c.Result == Interrupted }):
		case slices.ContainsFunc(j.Containers, func(c *WatchedContainer) bool { return c.Result == Running }):
			report.After++
		default:
			report.Finished++
		}
	}
	report.Interrupted = append(report.Interrupted, l.listInterruptions()...)
	return report
}

// unobserved is the end of a container of which nobody could say that it lives.
func unobserved(s *suspicion, reason, step string, now time.Time) *suspicion {
	if s == nil {
		s = &suspicion{ended: now, step: step, cause: "it was not seen alive at the end"}
	}
	s.cause = "unobserved: " + s.cause
	if reason != "" {
		s.cause += " (" + reason + ")"
	}
	return s
}

func (l *ledger) interruptions() []pai.Interruption {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.listInterruptions()
}

func (l *ledger) listInterruptions() []pai.Interruption {
	var list []pai.Interruption
	l.each(func(_ *WatchedJob, c *WatchedContainer) {
		if c.Interruption != nil {
			list = append(list, l.machines.explain(*c.Interruption))
		}
	})
	slices.SortStableFunc(list, func(a, b pai.Interruption) int { return a.Time.Compare(b.Time) })
	return list
}
