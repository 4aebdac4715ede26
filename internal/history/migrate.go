package history

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
)

// migrationFiles has a directory for each database. Within a release, migrations only
// add: while servers are replaced, the older one goes on with the newer tables.
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

// migrate brings the tables to the version that this program knows. Tables of a newer
// version stay.
func migrate(ctx context.Context, db *sql.DB, d dialect) error {
	m, err := migrations(db, d)
	if err != nil {
		return fmt.Errorf("read the migrations of the history: %w", err)
	}
	if _, err := m.Up(ctx); err != nil {
		return fmt.Errorf("migrate the history: %w", err)
	}
	return nil
}
