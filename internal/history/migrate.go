package history

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3"

	"pai.dev/pai/internal/poll"
)

// migrationFiles has a directory for each database. Migrations go forward only, and only
// add: while servers are replaced, the older one works with the newer tables.
//
//go:embed migrations
var migrationFiles embed.FS

func migrations(db *sql.DB, d dialect) (*goose.Provider, error) {
	files, err := fs.Sub(migrationFiles, "migrations/"+d.name())
	if err != nil {
		return nil, err
	}
	kind := goose.DialectSQLite3
	if d == dialect(postgresql{}) {
		kind = goose.DialectPostgres
	}
	return goose.NewProvider(kind, db, files, goose.WithDisableGlobalRegistry(true))
}

// migrateTries is how often a migration is tried: of two servers that start at the same
// time, one fails and then finds the tables of the other.
const migrateTries = 5

// newerError is a history with tables of a later release. They stay as they are: this
// release does not know what it would have to write into them.
type newerError struct{ has, known int64 }

func (e newerError) Error() string {
	return fmt.Sprintf("the history has schema version %d, and this release knows version %d: "+
		"it is of a later release, which reads it again after an upgrade; nothing in it was changed", e.has, e.known)
}

// migrate brings the tables to the version that this program knows.
func migrate(ctx context.Context, db *sql.DB, d dialect) error {
	m, err := migrations(db, d)
	if err != nil {
		return fmt.Errorf("read the migrations of the history: %w", err)
	}
	for try := 1; ; try++ {
		has, known, err := m.GetVersions(ctx)
		if err == nil && has > known {
			return newerError{has, known}
		}
		if err == nil && has < known {
			_, err = m.Up(ctx)
		}
		if err == nil {
			return nil
		}
		if try == migrateTries || poll.Sleep(ctx, time.Duration(try)*100*time.Millisecond) != nil {
			return fmt.Errorf("migrate the history: %w", err)
		}
	}
}
