package witness

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"pai.dev/pai/internal/observe/running"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/poll"
)

// StartOptions are the inputs of a witness.
type StartOptions struct {
	// REST has the address and the credentials of the API. The witness opens its
	// own connections.
	REST *rest.Config
	// Machines lists the living containers of machines. If it is nil, the witness
	// observes only the API.
	Machines func(ctx context.Context, names []string) map[string]running.MachineReport
	// Pauses returns the pauses in the output of containers on machines before and
	// after the moment that was age ago. If it is nil, no output is observed.
	Pauses func(ctx context.Context, names []string, age time.Duration) map[string]running.PausesReport
	// Baseline is what an earlier witness of the same operation stored; nil if the
	// operation starts now.
	Baseline *Baseline
	// Save stores the baseline every few seconds, for a resumed operation. It can be
	// nil.
	Save func(ctx context.Context, b Baseline) error
	// Steps are the steps in progress. It can be nil.
	Steps func() []Step
}

// Intervals and limits. A watch costs nothing while nothing changes. An
// observation is one list, or one command per machine with watched containers.
const (
	listEvery     = 10 * time.Second
	machinesEvery = 3 * time.Second
	settleEvery   = time.Second
	saveEvery     = 5 * time.Second
	// unobservedAfter is how long after an observation the next one can be before
	// the time between them counts as unobserved.
	unobservedAfter = 20 * time.Second
	// unexplainedAfter is how long the API can leave an end unexplained that a
	// machine reported. A kubelet reports within seconds.
	unexplainedAfter = time.Minute
	startTimeout     = 30 * time.Second
	requestTimeout   = 10 * time.Second
	finalTimeout     = 45 * time.Second
)

// Witness watches running jobs and the API. Its methods are safe for concurrent
// use.
type Witness struct {
	o          StartOptions
	core       kubernetes.Interface
	objects    dynamic.Interface
	steps      *timeline
	ledger     *ledger
	probes     *probeLoop
	unobserved *unobservedTime
	taken      time.Time
	counted    Counted // before this witness started

	stopObserving context.CancelFunc
	observing     sync.WaitGroup
	stopSampling  context.CancelFunc
	sampling      sync.WaitGroup
	once          sync.Once
	report        pai.Report

	mu       sync.Mutex
	saveErr  error
	stopped  bool              // the final observation was made
	failures map[string]string // why the last observation failed, by "API" or machine
	notes    []string
}

// Start takes a baseline, unless there is one, and starts to watch. It returns an
// error if it cannot list the running jobs.
func Start(ctx context.Context, o StartOptions) (*Witness, error) {
	w := &Witness{o: o, steps: &timeline{}, unobserved: &unobservedTime{}, failures: map[string]string{}}
	if err := w.connect(); err != nil {
		return nil, fmt.Errorf("start the witness: %w", err)
	}
	if err := w.initialize(ctx); err != nil {
		w.probes.close()
		return nil, fmt.Errorf("start the witness: %w", err)
	}
	// The witness must outlive the context of the operation: until Stop, it also
	// watches what happens after Ctrl-C.
	live := context.WithoutCancel(ctx)
	sampling, stopSampling := context.WithCancel(live)
	observing, stopObserving := context.WithCancel(live)
	w.stopSampling, w.stopObserving = stopSampling, stopObserving
	w.sampling.Go(func() { w.probes.run(sampling, w.steps, w.inProgress) })
	w.observing.Go(func() { w.followPods(observing) })
	w.observing.Go(func() { w.followJobs(observing) })
	w.every(observing, listEvery, w.observeAPI)
	w.observing.Go(func() { w.observeMachines(observing) })
	w.every(observing, machinesEvery, w.observeMachines)
	w.every(observing, settleEvery, w.settle)
	w.every(observing, saveEvery, w.save)
	return w, nil
}

// dialFunc makes a connection.
type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// dialWithin limits how long connecting takes.
func dialWithin(dial dialFunc, timeout time.Duration) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		return dial(ctx, network, address)
	}
}

// dialOf is how a configuration connects.
func dialOf(cfg *rest.Config) dialFunc {
	if cfg.Dial != nil {
		return cfg.Dial
	}
	return (&net.Dialer{KeepAlive: 15 * time.Second}).DialContext
}

// connect creates the clients of the witness.
func (w *Witness) connect() error {
	cfg := rest.CopyConfig(w.o.REST)
	cfg.Dial = dialWithin(dialOf(cfg), requestTimeout) // shares no connection
	cfg.UserAgent = "pai-witness"
	cfg.QPS, cfg.Burst = 50, 100
	// The pods of all jobs are megabytes. The untyped client asks for JSON anyway.
	cfg.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	var err error
	if w.core, err = kubernetes.NewForConfig(cfg); err != nil {
		return fmt.Errorf("create a client: %w", err)
	}
	if w.objects, err = dynamic.NewForConfig(cfg); err != nil {
		return fmt.Errorf("create a client: %w", err)
	}
	w.probes, err = newProbeLoop(w.o.REST, w.unobserved)
	return err
}

// initialize takes a baseline or continues from one.
func (w *Witness) initialize(ctx context.Context) error {
	now := time.Now()
	var b Baseline
	if w.o.Baseline == nil {
		taken, err := w.takeBaseline(ctx)
		if err != nil {
			return err
		}
		w.noteOutput(ctx, taken)
		w.notePauses(ctx, taken)
		b, now = *taken, time.Now()
	} else {
		b = w.o.Baseline.clone()
		b.Counted.UnobservedSeconds += max(0, now.Sub(b.LastWatched).Seconds())
		w.steps.note(b.LastWatched, b.lastSteps()...)
	}
	w.steps.note(now, w.inProgress()...)
	w.taken, w.counted = b.Taken, b.Counted
	w.ledger = newLedger(b.Jobs, b.Boots, w.steps, b.LastWatched)
	w.ledger.taken = b.Taken
	w.unobserved.observed(now)
	if len(b.Jobs) > 0 {
		w.probes.submission.namespace = b.Jobs[0].Namespace
	}
	w.save(ctx)
	return nil
}

func (w *Witness) takeBaseline(ctx context.Context) (b *Baseline, err error) {
	wait := poll.Wait{For: "the list of running jobs", Timeout: startTimeout, Every: settleEvery}
	err = wait.Until(ctx, func(ctx context.Context) (bool, error) {
		if b, err = w.listRunning(ctx); err != nil {
			return false, err
		}
		// The boot IDs must be older than the list: a container that ends right after
		// it could otherwise have been ended by a reboot.
		boots := w.readBoots(ctx, b)
		b, err = w.listRunning(ctx)
		if err == nil {
			b.Boots = boots
		}
		return err == nil, err
	})
	return b, err
}

// readBoots reads the boot IDs of the machines of a baseline.
func (w *Witness) readBoots(ctx context.Context, b *Baseline) map[string]string {
	boots := map[string]string{}
	if w.o.Machines == nil {
		return boots
	}
	for name, report := range w.o.Machines(ctx, newLedger(b.Jobs, nil, w.steps, b.Taken).runningMachines()) {
		if report.Err == nil {
			boots[name] = report.Boot
		}
	}
	return boots
}

// every calls f at every period until ctx ends.
func (w *Witness) every(ctx context.Context, period time.Duration, f func(ctx context.Context)) {
	w.observing.Go(func() {
		ticker := time.NewTicker(period)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				f(ctx)
			}
		}
	})
}

func (w *Witness) inProgress() []Step {
	if w.o.Steps == nil {
		return nil
	}
	return w.o.Steps()
}

// StepsChanged records the steps in progress now. Call it when a step starts or
// ends: a step can be shorter than the interval at which the witness asks.
func (w *Witness) StepsChanged() { w.steps.record(w.inProgress) }

// Baseline returns the current state of the witness, for a resumed operation.
func (w *Witness) Baseline() Baseline {
	now := time.Now()
	b := w.ledger.state(now)
	b.Taken, b.LastWatched, b.Steps, b.Counted = w.taken, now, w.steps.now(), w.countedUntil(now)
	b.Step = join(b.Steps)
	w.mu.Lock()
	defer w.mu.Unlock()
	b.Stopped = w.stopped
	return b
}

// countedUntil returns all times, including those of earlier witnesses.
func (w *Witness) countedUntil(now time.Time) Counted { return w.counted.plus(w.probes.counted(now)) }

func (w *Witness) save(ctx context.Context) {
	if w.o.Save == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err := w.o.Save(ctx, w.Baseline())
	w.mu.Lock()
	defer w.mu.Unlock()
	w.saveErr = err
}

// Interruptions returns the ends of containers until now that count as
// interruptions, by time.
func (w *Witness) Interruptions() []pai.ContainerEnd { return w.ledger.interruptions() }
