package rest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"pai.dev/pai/internal/history"
	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/rest/openpai"
)

// Operations implements JobAPI. Reports leave the cluster before a long job does.
func (r *Recorded) Operations(ctx context.Context, id JobID) ([]JobOperation, error) {
	now, err := r.Core.Operations(ctx, id)
	all, err := withRecorded(ctx, r, id, history.Operation, now, func(o JobOperation) string { return o.ID }, err)
	slices.SortFunc(all, func(a, b JobOperation) int { return cmp.Compare(a.ID, b.ID) })
	return all, err
}

// Events implements ClusterAPI. Kubernetes keeps events for an hour.
func (r *Recorded) Events(ctx context.Context, id JobID) ([]openpai.Event, error) {
	now, err := r.Core.Events(ctx, id)
	all, err := withRecorded(ctx, r, id, history.Event, now, func(e openpai.Event) string { return e.UID }, err)
	slices.SortStableFunc(all, func(a, b openpai.Event) int { return cmp.Compare(a.FirstTimestamp, b.FirstTimestamp) })
	return all, err
}

// withRecorded adds to what the cluster says about a job what is recorded about it. Of
// a job in the cluster, it can be missing.
func withRecorded[T any](ctx context.Context, r *Recorded, id JobID, kind string, now []T, idOf func(T) string, err error) ([]T, error) {
	if err != nil && !isMissing(err) {
		return now, err
	}
	known := map[string]bool{}
	for _, n := range now {
		known[idOf(n)] = true
	}
	uid, findErr := r.uidInCluster(ctx, id)
	switch {
	case findErr != nil && err != nil:
		return now, findErr
	case err == nil && (findErr != nil || uid == ""):
		return now, nil //nolint:nilerr // it just left: what the cluster said is enough
	case uid != "" && err != nil:
		return now, err // the job is there; what is recorded of an older one is not its own
	}
	read := func(ctx context.Context, s *history.Store, sum history.Summary) ([]T, error) {
		notes, err := s.Notes(ctx, sum.UID, kind)
		all := append([]T{}, now...)
		for _, n := range notes {
			var one T
			if known[n.ID] {
				continue
			}
			if err := json.Unmarshal(n.Data, &one); err != nil {
				return nil, fmt.Errorf("read what is recorded about job %s: %w", id, err)
			}
			all = append(all, one)
		}
		return all, err
	}
	if uid == "" {
		return fromHistory(ctx, r, id, err, read)
	}
	all, err := history.Use(ctx, r.history, func(ctx context.Context, s *history.Store) ([]T, error) {
		return read(ctx, s, history.Summary{UID: uid})
	})
	if err != nil {
		return now, nil //nolint:nilerr // the cluster has the newest
	}
	return all, nil
}

// AddTag implements ClusterAPI.
func (r *Recorded) AddTag(ctx context.Context, id JobID, tag string) error {
	return r.changeRecordedTags(ctx, id, r.Core.AddTag(ctx, id, tag), func(tags []string) (string, error) { return job.AddTag(tags, tag) })
}

// RemoveTag implements ClusterAPI.
func (r *Recorded) RemoveTag(ctx context.Context, id JobID, tag string) error {
	if _, err := r.find(ctx, id); !isMissing(err) {
		return r.Core.RemoveTag(ctx, id, tag)
	}
	return r.changeRecordedTags(ctx, id, r.Core.RemoveTag(ctx, id, tag), func(tags []string) (string, error) {
		left, had := job.RemoveTag(tags, tag)
		if !had {
			return "", pai.Errorf(pai.CodeNotFound, "", "%w: job %s does not have it", errNoTag, id)
		}
		return left, nil
	})
}

// changeRecordedTags changes the tags of a job that left the cluster. err is what the
// cluster answered, which asked whether the caller can do so.
func (r *Recorded) changeRecordedTags(ctx context.Context, id JobID, err error, change func([]string) (string, error)) error {
	if !isMissing(err) {
		return err
	}
	_, err = fromHistory(ctx, r, id, err, func(ctx context.Context, s *history.Store, sum history.Summary) (int, error) {
		return 0, s.ChangeTags(ctx, sum.UID, change)
	})
	return err
}

// Attempt implements History.
func (r *Recorded) Attempt(ctx context.Context, id JobID, attempt int) (job.Status, error) {
	newest, err := r.Get(ctx, id)
	if err != nil || newest.Retries == attempt {
		return newest, err
	}
	s, err := history.Use(ctx, r.history, func(ctx context.Context, s *history.Store) (job.Status, error) {
		return s.Attempt(ctx, newest.UID, attempt)
	})
	switch {
	case errors.Is(err, history.ErrNotFound):
		return job.Status{}, noJob(id)
	case errors.Is(err, history.ErrAway):
		return job.Status{}, awayError{err}
	}
	return s, err
}

// Attempts implements History. All attempts of a job can have as much in memory as a list.
func (r *Recorded) Attempts(ctx context.Context, id JobID) (all []job.Status, why string, err error) {
	newest, err := r.Get(ctx, id)
	if err != nil || newest.Retries == 0 {
		return []job.Status{newest}, "", err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	release, err := r.makeList(ctx)
	if err != nil {
		return nil, "", err
	}
	defer release()
	earlier, err := history.Use(ctx, r.history, func(ctx context.Context, s *history.Store) ([]job.Status, error) {
		return s.Attempts(ctx, newest.UID, newest.Retries)
	})
	if errors.Is(err, history.ErrAway) {
		return []job.Status{newest}, incompleteAttempts, nil
	}
	return append([]job.Status{newest}, earlier...), "", err
}

// incompleteAttempts is what users see of a history that is not available.
const incompleteAttempts = "the history is not available: earlier attempts are missing"
