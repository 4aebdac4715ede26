package history

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver
)

// SQLiteFile is the name of the database in its directory.
const SQLiteFile = "history.db"

const (
	sqlitePage = 4096
	// sqliteConnections is how many requests read at the same time. A connection keeps
	// 2 MB of the file in memory.
	sqliteConnections = 4
)

// OpenSQLite opens the database in a directory, and creates it if there is none. The
// file never becomes larger than maxBytes, which protects the disk: etcd can have the
// same. Several servers of a machine can have it open.
func OpenSQLite(ctx context.Context, dir string, maxBytes int64) (*Store, error) {
	file := filepath.Join(dir, SQLiteFile)
	pragmas := url.Values{"_txlock": {"immediate"}, "_pragma": {
		"busy_timeout(5000)", "journal_mode(WAL)", "foreign_keys(1)",
		"synchronous(FULL)", // a job leaves the cluster once it is recorded
		fmt.Sprintf("max_page_count(%d)", maxBytes/sqlitePage),
	}}
	opened, err := private(file)
	if err != nil {
		return nil, fmt.Errorf("open the history: %w", err)
	}
	name := (&url.URL{Scheme: "file", Path: file, RawQuery: pragmas.Encode()}).String()
	db, err := sql.Open("sqlite", name)
	if err != nil {
		return nil, fmt.Errorf("open the history: %w", err)
	}
	checks, err := sql.Open("sqlite", name)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the history: %w", err), db.Close())
	}
	db.SetMaxOpenConns(sqliteConnections)
	db.SetMaxIdleConns(sqliteConnections)
	s, err := open(ctx, db, checks, sqlite{}, func() error { return sameFile(file, opened) })
	if err != nil {
		return nil, fmt.Errorf("open the history %s: %w", file, err)
	}
	return s, nil
}

// private is the file of a database. It creates one that is missing, which the driver
// would make readable for others. A file that exists is not opened: closing it would end
// all locks that this process has on it, also those of other connections, and another
// server could delete what they write.
func private(file string) (fs.FileInfo, error) {
	created, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return os.Stat(file)
	}
	if err != nil {
		return nil, err
	}
	info, err := created.Stat()
	return info, errors.Join(err, created.Close())
}

// errReplaced: waiting does not help.
var errReplaced = errors.New("the file of the history is not the one that was opened")

// sameFile returns an error if a file was replaced or deleted. Writing to one that was
// deleted would succeed, and lose everything.
func sameFile(file string, opened fs.FileInfo) error {
	now, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %w", errReplaced, err)
	case err != nil:
		return fmt.Errorf("look at the file of the history: %w", err)
	case !os.SameFile(now, opened):
		return fmt.Errorf("%w: %s", errReplaced, file)
	}
	return nil
}

// used is how many bytes a file has that are in use; 0 for databases that bound
// themselves.
func (s *Store) used(ctx context.Context) (bytes, limit int64, err error) {
	if s.d != dialect(sqlite{}) {
		return 0, 0, nil
	}
	var pages, free, most int64
	for pragma, into := range map[string]*int64{"page_count": &pages, "freelist_count": &free, "max_page_count": &most} {
		if err := s.db.QueryRowContext(ctx, "PRAGMA "+pragma).Scan(into); err != nil {
			return 0, 0, fmt.Errorf("read the size of the history: %w", err)
		}
	}
	return (pages - free) * sqlitePage, most * sqlitePage, nil
}
