package history

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Store is an open database.
type Store struct {
	db *sql.DB
	// checks has the connection of Check, which requests do not use: many slow ones must
	// not make the database look away.
	checks *sql.DB
	d      dialect
	// intact returns an error if the database is not the one that was opened.
	intact func() error
}

// ErrNotFound: the history does not have the job.
var ErrNotFound = errors.New("the history does not have the job")

// Check returns an error if the database is not responding, or is another one than at
// the start.
func (s *Store) Check(ctx context.Context) error {
	if err := s.intact(); err != nil {
		return err
	}
	var one int
	if err := s.checks.QueryRowContext(ctx, "SELECT count(*) FROM jobs WHERE uid = ''").Scan(&one); err != nil {
		return fmt.Errorf("read the history: %w", err)
	}
	return nil
}

// Close ends all connections.
func (s *Store) Close() error { return errors.Join(s.checks.Close(), s.db.Close()) }

// Empty reports whether no job is recorded.
func (s *Store) Empty(ctx context.Context) (bool, error) {
	var some bool
	err := s.db.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM jobs)").Scan(&some)
	return !some, err
}

// inTransaction calls do in a transaction, which an error undoes.
func (s *Store) inTransaction(ctx context.Context, do func(tx *sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := do(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// open checks a database and brings it to the newest form.
func open(ctx context.Context, db, checks *sql.DB, d dialect, intact func() error) (*Store, error) {
	checks.SetMaxOpenConns(1)
	err := db.PingContext(ctx)
	if err == nil {
		err = migrate(ctx, db, d)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close(), checks.Close())
	}
	return &Store{db, checks, d, intact}, nil
}
