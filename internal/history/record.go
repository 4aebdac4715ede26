package history

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"pai.dev/pai/internal/job"
)

const (
	// maxAttempts and maxNotes are how many attempts, and notes of a kind, of a job are
	// kept, the newest.
	maxAttempts = 100
	maxNotes    = 1000
)

// The kinds of notes.
const (
	Event     = "event"     // of Kubernetes
	Operation = "operation" // of the operators
)

// Note is something about a job, in a form that only its writer knows.
type Note struct {
	Kind, ID string
	At       time.Time
	Data     json.RawMessage
}

// Record is what is recorded of a job that the cluster has.
type Record struct {
	Status   job.Status
	Observed time.Time // when the reading of the cluster began
	Protocol []byte    // as it was submitted; nil to leave what is recorded
	Notes    []Note    // in addition to those that are recorded
}

// Digest changes with the status of a job.
func Digest(s job.Status) string {
	text, _ := json.Marshal(s) // a status has an encoding
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:12])
}

// Record writes jobs, all or none. What was observed later stays. It returns the UIDs of
// jobs that were refused for this reason, and whose recorded state is another one.
func (s *Store) Record(ctx context.Context, records ...Record) (refused []string, err error) {
	return limited(ctx, writeTimeout, func(ctx context.Context) ([]string, error) { return s.record(ctx, records) })
}

func (s *Store) record(ctx context.Context, records []Record) (refused []string, err error) {
	if err := s.intact(); err != nil {
		return nil, err
	}
	err = s.inTransaction(ctx, func(tx *sql.Tx) error {
		for _, r := range records {
			written, err := record(ctx, tx, r)
			if err != nil {
				return fmt.Errorf("job %s: %w", r.Status, err)
			}
			if !written {
				refused = append(refused, r.Status.UID)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("write the history: %w", err)
	}
	return refused, nil
}

// record reports whether the status is now that of the database.
func record(ctx context.Context, tx *sql.Tx, r Record) (written bool, err error) {
	written, err = recordSummary(ctx, tx, r)
	if err != nil {
		return false, err
	}
	uid := clean(r.Status.UID)
	if written {
		err = recordAttempt(ctx, tx, uid, r.Status)
	} else {
		var digest string
		err = tx.QueryRowContext(ctx, "SELECT digest FROM jobs WHERE uid = $1", uid).Scan(&digest)
		written = digest == Digest(r.Status) // another server wrote the same
	}
	if err != nil {
		return false, err
	}
	if r.Protocol != nil {
		_, err := tx.ExecContext(ctx, "INSERT INTO texts (job, protocol) VALUES ($1, $2) ON CONFLICT (job) DO NOTHING", uid, r.Protocol)
		if err != nil {
			return false, err
		}
	}
	return written, recordNotes(ctx, tx, uid, r.Notes)
}

const upsertJob = `INSERT INTO jobs (uid, user_name, job_name, virtual_cluster, state, priority, created, started, ended,
  retries, gpus, tasks, task_roles, exit_code, stop_asked, tags, observed, digest, gone)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, 0)
ON CONFLICT (uid) DO UPDATE SET user_name = excluded.user_name, job_name = excluded.job_name, virtual_cluster = excluded.virtual_cluster,
  state = excluded.state, priority = excluded.priority, created = excluded.created, started = excluded.started, ended = excluded.ended,
  retries = excluded.retries, gpus = excluded.gpus, tasks = excluded.tasks, task_roles = excluded.task_roles, exit_code = excluded.exit_code,
  stop_asked = excluded.stop_asked, tags = excluded.tags, observed = excluded.observed, digest = excluded.digest, gone = 0
WHERE jobs.observed <= excluded.observed`

// recordSummary reports whether nothing newer is recorded.
func recordSummary(ctx context.Context, tx *sql.Tx, r Record) (newest bool, err error) {
	s := Summarize(r.Status)
	stopAsked := 0
	if s.StopAsked {
		stopAsked = 1
	}
	result, err := tx.ExecContext(ctx, upsertJob, clean(s.UID), clean(s.User), clean(s.Name), clean(s.VirtualCluster), string(s.State), clean(s.Priority),
		toMillis(s.Created), toMillis(s.Started), toMillis(s.Ended), s.Retries, s.GPUs, s.Tasks, s.TaskRoles, s.ExitCode, stopAsked, clean(joinTags(s.Tags)),
		toMillis(r.Observed), Digest(r.Status))
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

func recordAttempt(ctx context.Context, tx *sql.Tx, uid string, s job.Status) error {
	before, err := attempt(ctx, tx, uid, s.Retries)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if err != nil {
		if err := reduceEarlier(ctx, tx, uid, s.Retries); err != nil {
			return err
		}
	}
	text, err := encoded(completed(s, before))
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO attempts (job, attempt, status) VALUES ($1, $2, $3) ON CONFLICT (job, attempt) DO UPDATE SET status = excluded.status",
		uid, s.Retries, text)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "DELETE FROM attempts WHERE job = $1 AND attempt <= $2", uid, s.Retries-maxAttempts)
	return err
}

// reduceEarlier makes the attempt before one small: a job with many tasks can have many
// attempts.
func reduceEarlier(ctx context.Context, tx *sql.Tx, uid string, n int) error {
	var earlier int
	var text []byte
	err := tx.QueryRowContext(ctx, "SELECT attempt, status FROM attempts WHERE job = $1 AND attempt < $2 ORDER BY attempt DESC LIMIT 1", uid, n).Scan(&earlier, &text)
	if errors.Is(err, sql.ErrNoRows) || err == nil && len(text) <= maxEarlier {
		return nil
	}
	var s job.Status
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		return err
	}
	if text, err = json.Marshal(onlyFailed(s)); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "UPDATE attempts SET status = $3 WHERE job = $1 AND attempt = $2", uid, earlier, text)
	return err
}

func recordNotes(ctx context.Context, tx *sql.Tx, uid string, notes []Note) error {
	kinds := map[string]bool{}
	for _, n := range notes {
		kinds[n.Kind] = true
		_, err := tx.ExecContext(ctx, `INSERT INTO notes (job, kind, id, at, data) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (job, kind, id) DO UPDATE SET at = excluded.at, data = excluded.data`, uid, n.Kind, clean(n.ID), toMillis(n.At), []byte(n.Data))
		if err != nil {
			return err
		}
	}
	for kind := range kinds {
		_, err := tx.ExecContext(ctx, `DELETE FROM notes WHERE job = $1 AND kind = $2 AND id NOT IN
(SELECT id FROM notes WHERE job = $1 AND kind = $2 ORDER BY at DESC, id DESC LIMIT $3)`, uid, kind, maxNotes)
		if err != nil {
			return err
		}
	}
	return nil
}
