package history

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"pai.dev/pai/internal/job"
)

// Held is a recorded job that was in the cluster when it was last seen.
type Held struct {
	Summary
	Digest  string
	HasText bool
}

// Held returns the recorded jobs that were last seen in the cluster.
func (s *Store) Held(ctx context.Context) ([]Held, error) {
	return limited(ctx, writeTimeout, s.held)
}

func (s *Store) held(ctx context.Context) (held []Held, err error) {
	rows, err := s.db.QueryContext(ctx, "SELECT digest, EXISTS (SELECT 1 FROM texts WHERE job = uid), "+summaryColumns+" FROM jobs WHERE gone = 0")
	if err != nil {
		return nil, readError(err)
	}
	err = eachRow(rows, func() error {
		var h Held
		sum, err := scanSummary(before{rows, []any{&h.Digest, &h.HasText}})
		h.Summary = sum
		held = append(held, h)
		return err
	})
	return held, readError(err)
}

// before scans some columns before those of a summary.
type before struct {
	row   row
	first []any
}

func (b before) Scan(into ...any) error { return b.row.Scan(append(b.first, into...)...) }

// Leave records that a job is not in the cluster at a time. It was seen there last at
// another time, which is zero if this is not known. If its end was not recorded, how it
// ended is unknown; it was before it was not found.
func (s *Store) Leave(ctx context.Context, uid string, seen, at time.Time) error {
	seenMillis := int64(0)
	if !seen.IsZero() {
		seenMillis = toMillis(seen)
	}
	_, err := limited(ctx, writeTimeout, func(ctx context.Context) (sql.Result, error) {
		return s.db.ExecContext(ctx, `UPDATE jobs SET gone = $2, observed = CASE WHEN observed < $3 THEN $3 ELSE observed END,
ended = CASE WHEN state IN ('SUCCEEDED', 'FAILED', 'STOPPED') THEN ended ELSE $2 END,
state = CASE WHEN state IN ('SUCCEEDED', 'FAILED', 'STOPPED') THEN state ELSE 'UNKNOWN' END WHERE uid = $1 AND gone = 0 AND observed <= $2`,
			clean(uid), toMillis(at), seenMillis)
	})
	if err != nil {
		return fmt.Errorf("write the history: %w", err)
	}
	return nil
}

// ChangeTags changes the tags of a job that left the cluster.
func (s *Store) ChangeTags(ctx context.Context, uid string, change func(tags []string) (string, error)) error {
	var refused error
	err := s.inTransaction(ctx, func(tx *sql.Tx) error {
		lock := ""
		if s.d == dialect(postgresql{}) {
			lock = " FOR UPDATE"
		}
		var text string
		if err := tx.QueryRowContext(ctx, "SELECT tags FROM jobs WHERE uid = $1"+lock, clean(uid)).Scan(&text); err != nil {
			return readError(err)
		}
		var after string
		if after, refused = change(splitTags(text)); refused != nil {
			return nil
		}
		_, err := tx.ExecContext(ctx, "UPDATE jobs SET tags = $2 WHERE uid = $1", clean(uid), clean(joinTags(job.ReadTags(after))))
		return err
	})
	if err != nil && !errors.Is(err, ErrNotFound) {
		err = fmt.Errorf("write the history: %w", err)
	}
	return errors.Join(refused, err)
}

const (
	// pruneAtOnce is how many jobs a statement deletes.
	pruneAtOnce = 500
	// pruneTimeout is how long the recorder waits for all of them. The next time
	// continues.
	pruneTimeout = 2 * time.Minute
)

// Prune deletes jobs that left the cluster: those that ended before a time, and of the
// others the oldest, as many as are more than keep, or more than four fifths of the file
// have space for. It returns how many it deleted.
func (s *Store) Prune(ctx context.Context, keep int, before time.Time) (deleted int, err error) {
	return limited(ctx, pruneTimeout, func(ctx context.Context) (int, error) { return s.prune(ctx, keep, before) })
}

func (s *Store) prune(ctx context.Context, keep int, before time.Time) (deleted int, err error) {
	for {
		n, err := s.deleteOldest(ctx, pruneAtOnce, before.UnixMilli())
		if err == nil && n == 0 {
			var excess int
			if excess, err = s.excess(ctx, keep); err == nil && excess > 0 {
				n, err = s.deleteOldest(ctx, excess, unknown)
			}
		}
		deleted += n
		if err != nil {
			return deleted, fmt.Errorf("delete the oldest jobs of the history: %w", err)
		}
		if n == 0 {
			return deleted, nil
		}
	}
}

// deleteOldest deletes at most n jobs that left the cluster and ended before a time.
func (s *Store) deleteOldest(ctx context.Context, n int, beforeMillis int64) (deleted int, err error) {
	result, err := s.db.ExecContext(ctx, "DELETE FROM jobs WHERE uid IN (SELECT uid FROM jobs WHERE gone > 0 AND ended <= $2 ORDER BY ended, uid LIMIT $1)", n, beforeMillis)
	if err != nil {
		return 0, err
	}
	some, err := result.RowsAffected()
	return int(some), err
}

// excess is how many jobs to delete now.
func (s *Store) excess(ctx context.Context, keep int) (int, error) {
	var jobs int
	if err := s.db.QueryRowContext(ctx, "SELECT count(*) FROM jobs").Scan(&jobs); err != nil {
		return 0, readError(err)
	}
	bytes, limit, err := s.used(ctx)
	if err != nil {
		return 0, err
	}
	if limit > 0 && bytes > limit/5*4 {
		return pruneAtOnce, nil
	}
	return min(max(0, jobs-keep), pruneAtOnce), nil
}
