package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"pai.dev/pai/internal/history"
	"pai.dev/pai/internal/rest"
)

const (
	// historyEvery is how often the server looks whether the history is available.
	historyEvery = 2 * time.Second
	// jobsEvery is how often the server records what changed.
	jobsEvery = 15 * time.Second
	// historyBytes is how large the file of the history becomes at most.
	historyBytes = 8 << 30
)

// historyOptions say where the history is.
type historyOptions struct {
	database   string // none, sqlite, or postgresql
	dir        string // of the file of SQLite
	connection string // the file with the connection string of PostgreSQL
	jobs, days int    // how many jobs it keeps, and how long after their end
}

// retention is that of the history.
func (o historyOptions) retention() rest.Retention {
	return rest.Retention{Jobs: o.jobs, Age: time.Duration(o.days) * 24 * time.Hour}
}

// keeper returns the Keeper of the history; nil if there is none. The server starts
// without the database: jobs do not depend on it.
func (o historyOptions) keeper(log *slog.Logger) (*history.Keeper, error) {
	var open func(ctx context.Context) (*history.Store, error)
	switch o.database {
	case "none":
		return nil, nil //nolint:nilnil // there is no history
	case "sqlite":
		open = func(ctx context.Context) (*history.Store, error) { return history.OpenSQLite(ctx, o.dir, historyBytes) }
	case "postgresql":
		open = func(ctx context.Context) (*history.Store, error) {
			connection, err := os.ReadFile(o.connection) // again each time: it can be replaced
			if err != nil {
				return nil, fmt.Errorf("read the connection string of the history: %w", err)
			}
			return history.OpenPostgreSQL(ctx, strings.TrimSpace(string(connection)))
		}
	default:
		return nil, fmt.Errorf("--history must be none, sqlite, or postgresql, not %q", o.database)
	}
	return history.NewKeeper(open, func(ctx context.Context, s *history.Store, err error) { logHistory(ctx, log, s, err) }), nil
}

func logHistory(ctx context.Context, log *slog.Logger, s *history.Store, err error) {
	if err != nil {
		log.Warn("the history is not available; jobs are not affected", "error", err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, historyEvery)
	defer cancel()
	if empty, err := s.Empty(ctx); err == nil && empty {
		log.Warn("the history is empty: it has no job that left the cluster before")
		return
	}
	log.Info("the history is available")
}
