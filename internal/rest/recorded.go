package rest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"pai.dev/pai/internal/history"
	"pai.dev/pai/internal/identity"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
)

// Recorded is a Core with the history: it also has the jobs that left the cluster. The
// cluster decides about the jobs that it has; without the history, they are all there is.
type Recorded struct {
	*Core
	history *history.Keeper
}

var (
	_ JobAPI     = (*Recorded)(nil)
	_ ClusterAPI = (*Recorded)(nil)
	_ History    = (*Recorded)(nil)
)

// NewRecorded returns a Core with the history.
func NewRecorded(core *Core, h *history.Keeper) *Recorded { return &Recorded{core, h} }

// incomplete is what users see of a history that is not available.
const incomplete = "the history is not available: jobs that left the cluster are missing"

// awayError is an error of the history for users: its own errors name machines and
// files. It counts as errUnavailable.
type awayError struct{ err error }

func (awayError) Error() string        { return incomplete }
func (e awayError) Unwrap() error      { return e.err }
func (awayError) Is(target error) bool { return target == errUnavailable }

// Page implements ClusterAPI.
func (r *Recorded) Page(ctx context.Context, q history.Query) (JobPage, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	q, err := r.visible(ctx, q)
	if err != nil {
		return JobPage{}, err
	}
	release, err := r.makeList(ctx) // for both halves: one holds what it has while the other is read
	if err != nil {
		return JobPage{}, err
	}
	defer release()
	jobs, err := r.list(ctx, filterOf(q))
	if err != nil {
		return JobPage{}, err
	}
	return r.page(ctx, q, summaries(jobs))
}

// page is a page over the cluster and the history. Its caller makes a list.
func (r *Recorded) page(ctx context.Context, q history.Query, inCluster []history.Summary) (JobPage, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return JobPage{}, err
	}
	p, err := history.Use(ctx, r.history, func(ctx context.Context, s *history.Store) (JobPage, error) {
		jobs, total, err := s.List(ctx, q, inCluster)
		return JobPage{Jobs: jobs, Total: total}, err
	})
	if errors.Is(err, history.ErrAway) {
		p, err = JobPage{Incomplete: incomplete}, nil
		p.Jobs, p.Total = q.Page(inCluster)
	}
	p.Jobs = slices.DeleteFunc(p.Jobs, func(s history.Summary) bool {
		return r.policy.Authorize(caller, identity.List, objectOf(JobID{s.User, s.Name})) != nil
	})
	return p, err
}

const (
	// recordedJobs is how many jobs that left the cluster a list without a limit has.
	recordedJobs = 1000
	// recordedTasks is how many tasks the jobs that left the cluster have in a list.
	recordedTasks = 100_000
	// recordedBytes is how many bytes they have in the database.
	recordedBytes = 16 << 20
)

// List implements JobAPI. Without a limit, it has all jobs of the cluster, and the newest
// of the others. What tasks of the others say is not in a list.
func (r *Recorded) List(ctx context.Context, f Filter) ([]job.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	q, err := r.visible(ctx, f.query())
	if err != nil {
		return nil, err
	}
	release, err := r.makeList(ctx)
	if err != nil {
		return nil, err
	}
	defer release() // what the cluster has and what is recorded are in memory until then
	jobs, err := r.list(ctx, Filter{User: f.User, VirtualCluster: f.VirtualCluster})
	if err != nil {
		return nil, err
	}
	inCluster := map[string]job.Status{}
	for _, s := range jobs {
		inCluster[s.UID] = s
	}
	living := summaries(jobs)
	if f.Limit == 0 {
		q.Limit = recordedJobs + len(q.Select(living))
	}
	p, err := r.page(ctx, q, living)
	if err != nil {
		return nil, err
	}
	if f.Limit == 0 {
		p.Jobs = append(p.Jobs, q.Select(living)...) // also those that are older
	}
	statuses, why, err := r.statuses(ctx, p.Jobs, inCluster)
	if older := p.Total - len(statuses); f.Limit == 0 && older > 0 {
		why = cmp.Or(why, fmt.Sprintf("%d older jobs that left the cluster are not listed", older))
	}
	if why = cmp.Or(p.Incomplete, why); why != "" && f.Incomplete != nil {
		f.Incomplete(why)
	}
	return statuses, err
}

// statuses returns jobs as the caller sees them, each once, the oldest first.
func (r *Recorded) statuses(ctx context.Context, jobs []history.Summary, inCluster map[string]job.Status) (all []job.Status, why string, err error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, "", err
	}
	known := map[string]job.Status{}
	var left []history.Summary
	tasks := 0
	for _, j := range jobs {
		if s, ok := inCluster[j.UID]; ok {
			known[j.UID] = s
		} else if r.policy.Authorize(caller, identity.Read, objectOf(JobID{j.User, j.Name})) != nil {
			known[j.UID] = publicStatus(j)
		} else if tasks += j.Tasks; tasks <= recordedTasks {
			left = append(left, j)
		} else {
			why = "older jobs that left the cluster are not listed: the list has too many tasks"
		}
	}
	if len(left) > 0 {
		recorded, err := history.Use(ctx, r.history, func(ctx context.Context, s *history.Store) (map[string]job.Status, error) {
			return s.Statuses(ctx, left, recordedBytes)
		})
		if err != nil && !errors.Is(err, history.ErrAway) {
			return nil, "", err
		}
		if err != nil {
			why = incomplete
		} else if len(recorded) < len(left) {
			why = cmp.Or(why, "older jobs that left the cluster are not listed: the list is too large")
		}
		for uid, s := range recorded {
			known[uid] = s
		}
	}
	all = make([]job.Status, 0, len(known))
	for _, s := range known {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b job.Status) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.String(), b.String()), cmp.Compare(a.UID, b.UID))
	})
	return all, why, nil
}

// publicStatus is what users see of the recorded job of another user.
func publicStatus(j history.Summary) job.Status {
	s := job.Status{JobRef: j.JobRef, State: j.State, Created: j.Created, Started: j.Started, Ended: j.Ended, UID: j.UID}
	return s.Public()
}

// fromHistory reads a job that the cluster does not have. missing is the error of the
// cluster.
func fromHistory[T any](ctx context.Context, r *Recorded, id JobID, missing error, read func(ctx context.Context, s *history.Store, sum history.Summary) (T, error)) (T, error) {
	result, err := history.Use(ctx, r.history, func(ctx context.Context, s *history.Store) (T, error) {
		sum, err := s.Find(ctx, pai.JobRef{User: id.User, Name: id.Name})
		if err != nil {
			var none T
			return none, err
		}
		return read(ctx, s, sum)
	})
	switch {
	case errors.Is(err, history.ErrNotFound):
		return result, missing
	case errors.Is(err, history.ErrAway):
		return result, pai.Errorf(pai.CodeFailed, "try again in a moment", "job %s is not in the cluster: %w", id, awayError{err})
	}
	return result, err
}

// uidInCluster is the UID of a job; empty if the cluster does not have the job.
func (r *Recorded) uidInCluster(ctx context.Context, id JobID) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	set, err := r.find(ctx, id)
	if isMissing(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return string(set.GetUID()), nil
}

func isMissing(err error) bool { return pai.CodeOf(err) == pai.CodeNotFound }

// Get implements JobAPI.
func (r *Recorded) Get(ctx context.Context, id JobID) (job.Status, error) {
	s, err := r.Core.Get(ctx, id)
	if !isMissing(err) {
		return s, err
	}
	return fromHistory(ctx, r, id, err, func(ctx context.Context, s *history.Store, sum history.Summary) (job.Status, error) {
		return s.Status(ctx, sum)
	})
}

// Protocol implements JobAPI. The text of a job in the cluster can be missing there; an
// older job with its name has another one. A job is also found if no text of it is.
func (r *Recorded) Protocol(ctx context.Context, id JobID) ([]byte, error) {
	text, err := r.Core.Protocol(ctx, id)
	if !isMissing(err) {
		return text, err
	}
	uid, findErr := r.uidInCluster(ctx, id)
	if findErr != nil {
		return nil, findErr
	}
	if uid != "" {
		recorded, readErr := history.Use(ctx, r.history, func(ctx context.Context, s *history.Store) ([]byte, error) { return s.Protocol(ctx, uid) })
		switch {
		case errors.Is(readErr, history.ErrNotFound):
			return nil, noConfig(id)
		case errors.Is(readErr, history.ErrAway):
			return nil, pai.Errorf(pai.CodeFailed, "try again in a moment", "the text of job %s is not in the cluster: %w", id, awayError{readErr})
		}
		return recorded, readErr
	}
	return fromHistory(ctx, r, id, err, func(ctx context.Context, s *history.Store, sum history.Summary) ([]byte, error) {
		text, err := s.Protocol(ctx, sum.UID)
		if errors.Is(err, history.ErrNotFound) {
			err = noConfig(id)
		}
		return text, err
	})
}

// Stop implements JobAPI.
func (r *Recorded) Stop(ctx context.Context, id JobID) error {
	err := r.Core.Stop(ctx, id)
	if !isMissing(err) {
		return err
	}
	_, err = fromHistory(ctx, r, id, err, func(_ context.Context, _ *history.Store, sum history.Summary) (int, error) {
		if !sum.State.Ended() {
			return 0, pai.Errorf(pai.CodeRefused, "", "job %s has left the cluster: how it ended was not seen", id)
		}
		return 0, pai.Errorf(pai.CodeRefused, "", "job %s has already ended: %s", id, sum.State)
	})
	return err
}

// Logs implements JobAPI. Machines delete the output of a job with its pods. A job in the
// cluster can lack the task that is asked for.
func (r *Recorded) Logs(ctx context.Context, id JobID, o LogOptions) (io.ReadCloser, error) {
	output, err := r.Core.Logs(ctx, id, o)
	if !isMissing(err) {
		return output, err
	}
	if uid, findErr := r.uidInCluster(ctx, id); uid != "" || findErr != nil {
		return nil, cmp.Or(findErr, err)
	}
	return fromHistory(ctx, r, id, err, func(context.Context, *history.Store, history.Summary) (io.ReadCloser, error) {
		return nil, pai.Errorf(pai.CodeNotFound, "", "job %s has left the cluster, and its output with it", id)
	})
}
