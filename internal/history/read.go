package history

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
)

const summaryColumns = "uid, user_name, job_name, virtual_cluster, state, priority, created, started, ended, retries, gpus, tasks, task_roles, exit_code, stop_asked, tags, observed, gone"

// row is what QueryRow and Rows have in common.
type row interface{ Scan(into ...any) error }

// scanSummary reads summaryColumns.
func scanSummary(r row) (sum Summary, err error) {
	var created, started, ended, seen, left int64
	var exitCode sql.NullInt64
	var tags string
	err = r.Scan(&sum.UID, &sum.User, &sum.Name, &sum.VirtualCluster, &sum.State, &sum.Priority, &created, &started, &ended,
		&sum.Retries, &sum.GPUs, &sum.Tasks, &sum.TaskRoles, &exitCode, &sum.StopAsked, &tags, &seen, &left)
	if err != nil {
		return sum, err
	}
	sum.Seen = fromMillis(seen)
	if left != 0 {
		sum.Left = fromMillis(left)
	}
	sum.Created, sum.Started, sum.Ended, sum.Tags = fromMillis(created), fromMillis(started), fromMillis(ended), splitTags(tags)
	if exitCode.Valid {
		sum.ExitCode = new(int(exitCode.Int64))
	}
	return sum, nil
}

// Find returns the newest recorded job of a user with a name, or ErrNotFound.
func (s *Store) Find(ctx context.Context, ref pai.JobRef) (Summary, error) {
	sum, err := scanSummary(s.db.QueryRowContext(ctx, "SELECT "+summaryColumns+
		" FROM jobs WHERE user_name = $1 AND job_name = $2 ORDER BY created DESC, uid LIMIT 1", clean(ref.User), clean(ref.Name)))
	return sum, readError(err)
}

func readError(err error) error {
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return ErrNotFound
	case err != nil && !errors.Is(err, ErrNotFound):
		return fmt.Errorf("read the history: %w", err)
	}
	return err
}

type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func attempt(ctx context.Context, db querier, uid string, n int) (s job.Status, err error) {
	var text []byte
	if err := db.QueryRowContext(ctx, "SELECT status FROM attempts WHERE job = $1 AND attempt = $2", uid, n).Scan(&text); err != nil {
		return s, readError(err)
	}
	return s, json.Unmarshal(text, &s)
}

// Status returns a recorded job, which the cluster does not have, as it was last seen.
func (s *Store) Status(ctx context.Context, sum Summary) (job.Status, error) {
	status, err := attempt(ctx, s.db, sum.UID, sum.Retries)
	if err != nil {
		return status, readError(err)
	}
	return asLeft(status, sum), nil
}

// Attempt returns a recorded attempt of a job that was retried after it, or ErrNotFound.
func (s *Store) Attempt(ctx context.Context, uid string, n int) (job.Status, error) {
	status, err := attempt(ctx, s.db, clean(uid), n)
	return asRetried(status), readError(err)
}

// Attempts returns the recorded attempts of a job before one, the newest first.
func (s *Store) Attempts(ctx context.Context, uid string, before int) (attempts []job.Status, err error) {
	rows, err := s.db.QueryContext(ctx, "SELECT status FROM attempts WHERE job = $1 AND attempt < $2 ORDER BY attempt DESC", clean(uid), before)
	if err != nil {
		return nil, readError(err)
	}
	err = eachRow(rows, func() error {
		var text []byte
		var status job.Status
		err := rows.Scan(&text)
		if err == nil {
			err = json.Unmarshal(text, &status)
		}
		attempts = append(attempts, asRetried(status))
		return err
	})
	return attempts, readError(err)
}

// Protocol returns a job as it was submitted, or ErrNotFound. An empty text is recorded of a
// job whose text was missing.
func (s *Store) Protocol(ctx context.Context, uid string) (text []byte, err error) {
	err = s.db.QueryRowContext(ctx, "SELECT protocol FROM texts WHERE job = $1", clean(uid)).Scan(&text)
	if err == nil && len(text) == 0 {
		err = ErrNotFound
	}
	return text, readError(err)
}

// Notes returns what is recorded of a kind about a job, the oldest first.
func (s *Store) Notes(ctx context.Context, uid, kind string) (notes []Note, err error) {
	rows, err := s.db.QueryContext(ctx, "SELECT id, at, data FROM notes WHERE job = $1 AND kind = $2 ORDER BY at, id", clean(uid), kind)
	if err != nil {
		return nil, readError(err)
	}
	err = eachRow(rows, func() error {
		n, at := Note{Kind: kind}, int64(0)
		err := rows.Scan(&n.ID, &at, &n.Data)
		n.At = fromMillis(at)
		notes = append(notes, n)
		return err
	})
	return notes, readError(err)
}

// eachRow calls do at each row, and closes the rows.
func eachRow(rows *sql.Rows, do func() error) error {
	var err error
	for err == nil && rows.Next() {
		err = do()
	}
	return errors.Join(err, rows.Err(), rows.Close())
}
