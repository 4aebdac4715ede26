package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"pai.dev/pai/internal/history"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
)

const (
	// settledAfter is when a waiting job is recorded: of two submissions with the same
	// name, one is undone within seconds.
	settledAfter = time.Minute
	// recordAtOnce is how many jobs are written together, and in memory until then.
	recordAtOnce = 50
	// slowEvery is how many passes there are between two that read the reports of
	// operations, which are large, read what other servers recorded, and delete the
	// oldest jobs of the history.
	slowEvery = 20
)

// Recorder writes the jobs of the cluster into the history. Any number of servers can do
// so in parallel: what was observed last stays.
type Recorder struct {
	core    *Core
	history *history.Keeper
	keep    Retention

	// What is recorded, as far as this server knows. The database has more.
	store  *history.Store
	held   map[string]heldJob // by UID
	events map[string]string  // versions of written events by UID
	passes int
	// recorded is when all jobs were recorded last, or the start.
	recorded atomic.Pointer[time.Time]
}

// heldJob is a recorded job that the cluster has.
type heldJob struct {
	digest  string
	vc      string
	object  string
	hasText bool
	seen    time.Time // when this server last saw it there; zero if it never did
}

// NewRecorder returns a Recorder of the jobs of a Core. The history keeps so many jobs,
// and each so long after its end. From then on, the Core deletes an ended job only after
// it is recorded.
func NewRecorder(core *Core, h *history.Keeper, keep Retention) *Recorder {
	r := &Recorder{core: core, history: h, keep: keep}
	r.recorded.Store(new(core.now()))
	core.recorder = r
	return r
}

// Recorded is when this server last recorded all jobs; its start, if it has not yet.
func (r *Recorder) Recorded() time.Time { return *r.recorded.Load() }

// Run records again and again until the context ends. While the history is not
// available, it waits; then the cluster says what happened meanwhile.
func (r *Recorder) Run(ctx context.Context, every time.Duration, report func(error)) {
	repeat(ctx, every, r.pass, report)
}

func (r *Recorder) pass(ctx context.Context) error {
	store, err := r.history.Store()
	if err != nil {
		return nil //nolint:nilerr // the Keeper reports it
	}
	if store != r.store {
		r.store, r.passes, r.events = store, 0, nil
	}
	var reports []pai.PublishedReport
	var failed []error
	if r.passes%slowEvery == 0 {
		if err := r.begin(ctx); err != nil {
			return err
		}
		var unread []error
		var reportsErr error
		reports, unread, reportsErr = r.core.reports(ctx)
		failed = append(append(failed, unread...), reportsErr, r.prune(ctx))
	}
	r.passes++
	seen := map[string]string{}
	for _, vc := range r.core.virtualClusters {
		if err := r.passIn(ctx, vc, reports, seen); err != nil {
			failed = append(failed, fmt.Errorf("record the jobs of virtual cluster %q: %w", vc, err))
		}
	}
	r.events = seen // what was not written is not there, and is written again
	err = errors.Join(append(failed, r.leaveUnconfigured(ctx))...)
	if err == nil {
		r.recorded.Store(new(r.core.now()))
	}
	return err
}

// prune deletes the jobs of the history whose retention has passed.
func (r *Recorder) prune(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, passTimeout)
	defer cancel()
	_, err := r.store.Prune(ctx, r.keep.Jobs, r.core.now().Add(-r.keep.Age))
	return err
}

// begin reads what the database has of the jobs that were in the cluster when they were
// last seen. Other servers write as well: what this server wrote might not be there, if
// the clock of another one is ahead.
func (r *Recorder) begin(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	all, err := r.store.Held(ctx)
	if err != nil {
		return err
	}
	before := r.held
	r.held = map[string]heldJob{}
	for _, h := range all {
		r.held[h.UID] = heldJob{digest: h.Digest, vc: h.VirtualCluster, object: job.ObjectName(h.User, h.Name), hasText: h.HasText, seen: before[h.UID].seen}
	}
	return nil
}

func (r *Recorder) passIn(ctx context.Context, vc string, reports []pai.PublishedReport, seen map[string]string) error {
	ctx, cancel := context.WithTimeout(ctx, passTimeout)
	defer cancel()
	release, err := r.core.makeList(ctx) // a pass has as much in memory as a list
	if err != nil {
		return err
	}
	defer release()
	observed, namespace := r.core.now(), job.Namespace(vc)
	records, err := r.core.records(ctx, namespace, pai.LabelJob)
	if err != nil {
		return err
	}
	pods, err := r.core.podsOf(ctx, namespace, pai.LabelJob)
	if err != nil {
		return err
	}
	events, eventsErr := r.core.eventsByPod(ctx, namespace) // jobs are recorded without them as well
	present := map[string]bool{}
	var batch []pendingRecord
	var failed []error
	write := func() {
		if len(batch) > 0 {
			failed = append(failed, r.write(ctx, vc, batch, seen))
		}
		batch = nil
	}
	for _, record := range records {
		s := record.Status(pods[record.Object()])
		present[s.UID] = true
		if h, ok := r.held[s.UID]; ok {
			h.seen = observed
			r.held[s.UID] = h
		}
		if s.State == job.StateUnknown || s.State == job.StateWaiting && observed.Sub(s.Created) < settledAfter {
			continue
		}
		known := r.held[s.UID]
		notes, versions, err := notesOf(s, events, reports, r.events)
		if failed = append(failed, err); known.digest == history.Digest(s) && known.hasText && len(notes) == 0 {
			maps.Copy(seen, versions)
			continue
		}
		next := pendingRecord{history.Record{Status: s, Observed: observed, Notes: notes}, versions}
		if !known.hasText {
			if next.Protocol, err = r.core.text(ctx, s); err != nil {
				failed = append(failed, err) // the status is recorded, the text in the next pass
			}
		}
		if batch = append(batch, next); len(batch) == recordAtOnce {
			write()
		}
	}
	write()
	return errors.Join(append(failed, eventsErr, r.leave(ctx, vc, present))...)
}

// passTimeout is many times what a pass over one virtual cluster takes.
const passTimeout = 2 * time.Minute

// pendingRecord is a record with the versions of its events.
type pendingRecord struct {
	history.Record
	events map[string]string
}

// write records jobs together, and adds their events to seen. If that fails, it records each
// by itself: one that cannot be written does not keep the others from the history. A
// database that is slow is not asked again for each.
func (r *Recorder) write(ctx context.Context, vc string, batch []pendingRecord, seen map[string]string) error {
	records := make([]history.Record, len(batch))
	for i, b := range batch {
		records[i] = b.Record
	}
	refused, err := r.store.Record(ctx, records...)
	if err != nil && len(batch) > 1 && ctx.Err() == nil && !errors.Is(err, history.ErrSlow) {
		var failed []error
		for _, one := range batch {
			failed = append(failed, r.write(ctx, vc, []pendingRecord{one}, seen))
		}
		return errors.Join(failed...)
	}
	if err != nil {
		return err
	}
	for _, b := range batch {
		maps.Copy(seen, b.events)
		digest, known := history.Digest(b.Status), r.held[b.Status.UID]
		if slices.Contains(refused, b.Status.UID) {
			digest = "" // the next pass tries again: the clock of the server that wrote it is ahead
		}
		r.held[b.Status.UID] = heldJob{digest, vc, b.Status.Object, known.hasText || b.Protocol != nil, b.Observed}
	}
	return nil
}

// leave records which jobs are no longer in the cluster. A list is not enough: it asks
// for each.
func (r *Recorder) leave(ctx context.Context, vc string, present map[string]bool) error {
	var failed []error
	for uid, h := range r.held {
		if h.vc != vc || present[uid] {
			continue
		}
		set, err := r.core.cluster.Dynamic().Resource(job.JobSets).Namespace(job.Namespace(vc)).Get(ctx, h.object, metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			failed = append(failed, fmt.Errorf("look for job %s: %w", h.object, err))
			continue
		}
		if err == nil && string(set.GetUID()) == uid {
			continue
		}
		if err := r.store.Leave(ctx, uid, h.seen, r.core.now()); err != nil {
			failed = append(failed, err)
			continue
		}
		delete(r.held, uid)
	}
	return errors.Join(failed...)
}

// leaveUnconfigured records that the jobs of virtual clusters that the configuration no
// longer has are not in the cluster: this server has no right to look for them.
func (r *Recorder) leaveUnconfigured(ctx context.Context) error {
	var failed []error
	for uid, h := range r.held {
		if slices.Contains(r.core.virtualClusters, h.vc) {
			continue
		}
		if err := r.store.Leave(ctx, uid, h.seen, r.core.now()); err != nil {
			failed = append(failed, err)
			continue
		}
		delete(r.held, uid)
	}
	return errors.Join(failed...)
}

// final records a job that has ended for the last time: after it, the cluster has
// nothing that the history does not have. A job that has left is no error. If the history
// has another state, which counts as newer, that is one.
func (r *Recorder) final(ctx context.Context, e endedJob) error {
	store, err := r.history.Store()
	if err != nil {
		return err
	}
	observed := r.core.now()
	set, err := r.core.cluster.Dynamic().Resource(job.JobSets).Namespace(e.ref.Namespace).Get(ctx, e.ref.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && set.GetUID() != e.uid {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the ended job: %w", err)
	}
	s, err := r.core.status(ctx, set)
	if err != nil {
		return err
	}
	record := history.Record{Status: s, Observed: observed}
	if record.Protocol, err = r.core.textOf(ctx, set); err != nil {
		return err
	}
	reports, _, err := r.core.reports(ctx) // the passes report what cannot be read
	if err != nil {
		return err
	}
	events, err := r.core.eventsByPod(ctx, s.Namespace)
	if err != nil {
		return err
	}
	if record.Notes, _, err = notesOf(s, events, reports, nil); err != nil {
		return err
	}
	refused, err := store.Record(ctx, record)
	if err == nil && len(refused) > 0 {
		err = errors.New("the history has another state of it, from a server whose clock is ahead; later this one is newer")
	}
	return err
}

// left records that a job was deleted. The next pass repeats this if it fails.
func (r *Recorder) left(ctx context.Context, e endedJob) {
	if store, err := r.history.Store(); err == nil {
		_ = store.Leave(ctx, string(e.uid), time.Time{}, r.core.now())
	}
}

// text is what a job was submitted as.
func (c *Core) text(ctx context.Context, s job.Status) ([]byte, error) {
	set, err := c.cluster.Dynamic().Resource(job.JobSets).Namespace(s.Namespace).Get(ctx, s.Object, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read the text of job %s: %w", s, err)
	}
	if string(set.GetUID()) != s.UID {
		return nil, nil // another job has its name by now
	}
	return c.textOf(ctx, set)
}

// textOf is protocolOf for a job whose text can be missing: then it is empty, not nil.
func (c *Core) textOf(ctx context.Context, set *unstructured.Unstructured) ([]byte, error) {
	text, err := c.protocolOf(ctx, JobID{}, set)
	if isMissing(err) {
		return []byte{}, nil
	}
	return text, err
}

// operationNotes are the lines about a job in the reports of operations.
func operationNotes(s job.Status, reports []pai.PublishedReport) (notes []history.Note, err error) {
	for _, r := range reports {
		for _, o := range operationsOf(s, r) {
			data, err := json.Marshal(o)
			if err != nil {
				return notes, err
			}
			notes = append(notes, history.Note{Kind: history.Operation, ID: o.ID, At: o.Started, Data: data})
		}
	}
	return notes, nil
}
