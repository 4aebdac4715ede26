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
	"pai.dev/pai/internal/poll"
)

// Stop makes a complete final observation, ends the watch, and returns the
// report. It observes until every end is settled and every other container was
// observed alive, at most 45 seconds or until ctx ends. What was not observed
// until then is reported as unknown, with the cause "unobserved". Do not pass
// a context that Ctrl-C cancels.
func (w *Witness) Stop(ctx context.Context) pai.Report {
	w.once.Do(func() { w.report = w.finish(ctx) })
	return w.report
}

func (w *Witness) finish(ctx context.Context) pai.Report {
	finalCtx, cancel := context.WithTimeout(ctx, finalTimeout)
	defer cancel()
	w.stopObserving() // from here on, only the final observation changes the ledger
	w.observing.Wait()
	w.checkOutput(finalCtx, w.Baseline().Jobs)
	seen := w.observeUntilSettled(finalCtx)
	w.observeFailedMachines(ctx)
	jobs := w.ledger.conclude(seen, time.Now())
	pauses := w.readPauses(ctx)
	w.stopSampling()
	w.sampling.Wait()
	w.probes.close()
	counted := w.countedUntil(time.Now())
	w.mu.Lock()
	w.stopped = true
	w.mu.Unlock()
	w.save(context.WithoutCancel(ctx)) // the journal needs the result also if ctx has ended
	return pai.Report{
		Jobs:              jobs,
		API:               pai.APIReport{Availability: counted.New, Kept: counted.Kept},
		SubmissionSeconds: counted.Submission.OutageSeconds,
		AdmissionSeconds:  counted.Admission.OutageSeconds,
		UnobservedSeconds: counted.UnobservedSeconds,
		PerJob:            w.ledger.perJob(counted.UnobservedSeconds, pauses, w.taken, time.Now()),
	}
}

// finalObservation is the result of a complete observation: the living
// containers, and why the others are unknown.
type finalObservation struct {
	alive  map[string]bool // by container ID
	reason string
}

// observeUntilSettled observes until no container is unknown, or ctx ends.
func (w *Witness) observeUntilSettled(ctx context.Context) finalObservation {
	var seen finalObservation
	wait := poll.Wait{For: "the end state of all containers", Every: settleEvery}
	// If time is up, the last observation is reported with its reason. One that was
	// cut off says nothing about the containers, so the one before it counts.
	_ = wait.Until(ctx, func(ctx context.Context) (bool, error) {
		next, err := w.observeAll(ctx)
		if seen.alive == nil || err == nil || ctx.Err() == nil {
			seen = next
		}
		return err == nil && !w.ledger.hasPendingEnds() && w.ledger.allAlive(seen.alive), err
	})
	return seen
}

// observeFailedMachines observes the machines with interrupted containers, because
// the API does not know whether a machine rebooted. It has its own time limit, so
// that the result does not depend on the time of the final observation.
func (w *Witness) observeFailedMachines(ctx context.Context) {
	names := w.ledger.machinesWithInterruptions()
	if len(names) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	w.readMachines(ctx, names)
}

// observeAll observes the API and the machines. A container is alive if both
// report it. If its machine is unreachable, the API and the kubelet must report it.
func (w *Witness) observeAll(ctx context.Context) (finalObservation, error) {
	seen := finalObservation{alive: map[string]bool{}}
	names := w.ledger.runningMachines()
	if len(names) == 0 {
		return seen, nil
	}
	reports := w.readMachines(ctx, names)
	pods, ready, errAPI := w.listPodsAndNodes(ctx)
	if errAPI == nil {
		w.ledger.recordAllPods(pods, time.Now())
		w.settle(ctx)
		w.unobserved.observed(time.Now())
	}
	w.ledger.addAlive(seen.alive, pods, ready, reports, errAPI == nil)
	var failures []error
	for _, name := range names {
		failures = append(failures, reports[name].Err)
	}
	if err := errors.Join(append(failures, errAPI)...); err != nil {
		seen.reason = err.Error()
	}
	return seen, errAPI
}

// listPodsAndNodes returns the pods of jobs, and which nodes are ready.
func (w *Witness) listPodsAndNodes(ctx context.Context) ([]corev1.Pod, map[string]bool, error) {
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
		ready[n.Name] = slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
			return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
		})
	}
	return list.Items, ready, nil
}

// addAlive adds the containers that an observation reports as alive.
func (l *ledger) addAlive(alive map[string]bool, pods []corev1.Pod, ready map[string]bool, reports map[string]running.MachineReport, apiObserved bool) {
	byUID := map[string]*corev1.Pod{}
	for i := range pods {
		byUID[string(pods[i].UID)] = &pods[i]
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.eachRunning(func(_ *WatchedJob, c *WatchedContainer) {
		pod := byUID[c.PodUID]
		inAPI := pod != nil && evaluate(c, pod).sign == signAlive
		m, asked := reports[c.Machine]
		onMachine := slices.ContainsFunc(m.Containers, func(r running.Container) bool { return r.ID == c.ID })
		switch {
		case asked && m.Err == nil && apiObserved:
			alive[c.ID] = inAPI && onMachine
		case asked && m.Err == nil:
			alive[c.ID] = onMachine
		case apiObserved:
			alive[c.ID] = inAPI && ready[c.Machine]
		}
	})
}

// allAlive reports whether every running container is in alive.
func (l *ledger) allAlive(alive map[string]bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := true
	l.eachRunning(func(_ *WatchedJob, c *WatchedContainer) { all = all && alive[c.ID] })
	return all
}

// conclude counts the jobs after the final observation. The end of a container that
// was not observed alive is unobserved, and so unknown.
func (l *ledger) conclude(seen finalObservation, now time.Time) pai.JobsReport {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.eachRunning(func(j *WatchedJob, c *WatchedContainer) {
		if seen.alive[c.ID] && c.pending == nil {
			return
		}
		if c.pending == nil {
			c.pending = &pendingEnd{evidence: evidence{cause: "not observed alive at the end"}, noticed: now, ended: now, step: l.steps.at(now)}
		}
		if p := c.pending; !p.jobRead {
			p.cause = "unobserved: " + p.cause
			if seen.reason != "" {
				p.cause += " (" + seen.reason + ")"
			}
			p.unobserved = p.cause
		}
		l.settle(j, c, true)
	})
	return count(l.jobs, &l.machines)
}
