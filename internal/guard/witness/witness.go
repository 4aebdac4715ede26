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
)

// StartOptions are what a witness is started with.
type StartOptions struct {
	// REST says where the API is and how to be let in. The witness makes its
	// own connections.
	REST *rest.Config
	// Machines asks machines which containers live on them. Without it the
	// witness has the API's word alone.
	Machines func(ctx context.Context, names []string) map[string]running.MachineReport
	// Baseline is what an earlier witness of the same operation kept; nil when
	// the operation starts now.
	Baseline *Baseline
	// Save keeps the baseline, every few seconds, for an operation that is
	// resumed. It may be nil.
	Save func(ctx context.Context, b Baseline) error
	// Step names the step in progress. It may be nil.
	Step func() string
}

// How often the witness looks. Watching costs nothing while nothing happens;
// the rest is one list, and one command per machine with watched containers.
const (
	listEvery     = 10 * time.Second
	machinesEvery = 3 * time.Second
	settleEvery   = time.Second
	saveEvery     = 5 * time.Second
	// blindAfter is how long after a look the next may come before the time
	// between them counts as unobserved.
	blindAfter = 20 * time.Second
	// unexplainedAfter is how long the API may leave an end unexplained that a
	// machine has shown: a kubelet reports within seconds.
	unexplainedAfter = time.Minute
	startTimeout     = 30 * time.Second
	requestTimeout   = 10 * time.Second
	finalTimeout     = 45 * time.Second
)

// Witness watches. Its methods may be called from several goroutines.
type Witness struct {
	o       StartOptions
	core    kubernetes.Interface
	objects dynamic.Interface
	steps   *timeline
	ledger  *ledger
	pulse   *pulse
	dark    *darkness
	taken   time.Time
	counted Counted // before this witness started

	stopLooking  context.CancelFunc
	looking      sync.WaitGroup
	stopSampling context.CancelFunc
	sampling     sync.WaitGroup
	once         sync.Once
	report       pai.Report

	mu        sync.Mutex
	saveErr   error
	unwatched map[string]string // what could not be looked at just now, and why
	notes     []string
}

// Start takes the baseline, unless there is one, and begins to watch. It fails
// when it cannot look, because jobs that nobody saw run cannot be vouched for.
func Start(ctx context.Context, o StartOptions) (*Witness, error) {
	w := &Witness{o: o, steps: &timeline{}, dark: &darkness{}, unwatched: map[string]string{}}
	if err := w.connect(); err != nil {
		return nil, fmt.Errorf("start the witness: %w", err)
	}
	if err := w.begin(ctx); err != nil {
		w.pulse.close()
		return nil, fmt.Errorf("start the witness: %w", err)
	}
	// The witness outlives the operation's context: it watches what is done
	// after an interruption, too, until Stop.
	live := context.WithoutCancel(ctx)
	sampling, stopSampling := context.WithCancel(live)
	looking, stopLooking := context.WithCancel(live)
	w.stopSampling, w.stopLooking = stopSampling, stopLooking
	w.sampling.Go(func() { w.pulse.run(sampling, w.steps, w.step) })
	w.looking.Go(func() { w.followPods(looking) })
	w.looking.Go(func() { w.followJobs(looking) })
	w.every(looking, listEvery, w.lookAtAPI)
	w.looking.Go(func() { w.lookAtMachines(looking) }) // which boot each machine is in
	w.every(looking, machinesEvery, w.lookAtMachines)
	w.every(looking, settleEvery, w.settle)
	w.every(looking, saveEvery, w.save)
	return w, nil
}

// connect makes the witness's own clients.
func (w *Witness) connect() error {
	cfg := rest.CopyConfig(w.o.REST)
	cfg.Dial = (&net.Dialer{Timeout: requestTimeout, KeepAlive: 15 * time.Second}).DialContext // shares no connection
	cfg.UserAgent = "pai-witness"
	cfg.QPS, cfg.Burst = 50, 100
	var err error
	if w.core, err = kubernetes.NewForConfig(cfg); err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	if w.objects, err = dynamic.NewForConfig(cfg); err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	w.pulse, err = newPulse(w.o.REST, w.dark)
	return err
}

// begin takes the baseline or goes on from one.
func (w *Witness) begin(ctx context.Context) error {
	now := time.Now()
	b := w.o.Baseline
	if b == nil {
		var err error
		if b, err = w.takeBaseline(ctx); err != nil {
			return err
		}
		w.markOutput(ctx, b)
		now = time.Now()
	} else {
		copied := b.clone()
		b = &copied
		b.Counted.UnobservedSeconds += max(0, now.Sub(b.LastWatched).Seconds())
		w.steps.note(b.LastWatched, b.Step)
	}
	w.steps.note(now, w.step())
	w.taken, w.counted = b.Taken, b.Counted
	w.ledger = newLedger(b.Jobs, b.Boots, w.steps, b.LastWatched)
	w.dark.saw(now)
	if len(b.Jobs) > 0 {
		w.pulse.submitIn(b.Jobs[0].Namespace)
	}
	w.save(ctx)
	return nil
}

func (w *Witness) takeBaseline(ctx context.Context) (*Baseline, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("the API did not answer within %s", startTimeout))
	defer cancel()
	for {
		asked := time.Now()
		pods, sets, err := w.list(ctx)
		if err == nil {
			return baselineOf(pods, sets, asked), nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("see which jobs run: %w (%w)", err, context.Cause(ctx))
		case <-time.After(settleEvery):
		}
	}
}

// every runs f again and again until the witness is stopped.
func (w *Witness) every(ctx context.Context, period time.Duration, f func(ctx context.Context)) {
	w.looking.Go(func() {
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

func (w *Witness) step() string {
	if w.o.Step == nil {
		return ""
	}
	return w.o.Step()
}

// Baseline is what the witness knows now, for an operation that is resumed.
func (w *Witness) Baseline() Baseline {
	now := time.Now()
	b := Baseline{Taken: w.taken, LastWatched: now, Step: w.steps.now(), Counted: w.countedUntil(now)}
	w.ledger.mu.Lock()
	defer w.ledger.mu.Unlock()
	b.Jobs, b.Boots = w.ledger.jobs, w.ledger.machines.boots
	return b.clone()
}

// countedUntil adds up all time counted, that of earlier witnesses included.
func (w *Witness) countedUntil(now time.Time) Counted {
	c := w.pulse.counted(now)
	return Counted{
		New:               plus(w.counted.New, c.New),
		Kept:              plus(w.counted.Kept, c.Kept),
		Submission:        plus(w.counted.Submission, c.Submission),
		UnobservedSeconds: w.counted.UnobservedSeconds + w.dark.sum(now).Seconds(),
	}
}

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

// Interruptions are the containers seen to be interrupted so far, in the order
// of their ends.
func (w *Witness) Interruptions() []pai.Interruption { return w.ledger.interruptions() }

// Halt is nil while no job has been interrupted, and otherwise says which. It
// fits run.Executor's Halt.
func (w *Witness) Halt() error {
	list := w.Interruptions()
	if len(list) == 0 {
		return nil
	}
	i := list[0]
	return pai.Errorf(pai.CodeFailed, "see what happened to the job (paictl job show "+i.Job+"), then run the command again",
		"job %s was interrupted: container %s of pod %s on %s, during %s: %s", i.Job, i.Container, i.Pod, i.Machine, orNone(i.Step), i.Cause)
}

func orNone(step string) string {
	if step == "" {
		return "no step"
	}
	return step
}
