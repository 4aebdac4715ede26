package history

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"sync"
	"testing"
)

// A history of a later release is refused with a sentence, and stays as it is: its own
// release reads it again.
func TestNewerSchemaIsRefused(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, again func() (*Store, error)) {
		s, err := again()
		if err != nil {
			t.Fatal(err)
		}
		put(t, s, Record{Status: some("u1", "ada", "train")})
		for _, statement := range []string{
			"ALTER TABLE jobs ADD COLUMN later BIGINT NOT NULL DEFAULT 7", "INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, TRUE)",
		} {
			if _, err := s.db.ExecContext(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
		older, err := again()
		if err == nil {
			_ = older.Close()
		}
		if newer, is := errors.AsType[newerError](err); !is || newer != (newerError{99, 1}) || !strings.Contains(err.Error(), "a later release") {
			t.Errorf("got %v", err)
		}
		// A server that has the database open while a newer one migrates it still works.
		put(t, s, Record{Status: some("u2", "ada", "other")})
		if _, err := s.db.ExecContext(t.Context(), "DELETE FROM goose_db_version WHERE version_id = 99"); err != nil {
			t.Fatal(err)
		}
		newer, err := again()
		if err != nil {
			t.Fatal(err)
		}
		var later int
		if err := newer.db.QueryRowContext(t.Context(), "SELECT later FROM jobs WHERE uid = 'u1'").Scan(&later); err != nil || later != 7 {
			t.Errorf("what the later release stored is %d, %v", later, err)
		}
		if _, total, err := newer.List(t.Context(), Query{Limit: 1}, nil); err != nil || total != 2 {
			t.Errorf("got %d jobs, %v", total, err)
		}
		for _, s := range []*Store{s, newer} {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// Servers that start at the same time make the tables once.
func TestServersMigrateTogether(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, again func() (*Store, error)) {
		var group sync.WaitGroup
		for i := range 4 {
			group.Go(func() {
				s, err := again()
				if err != nil {
					t.Errorf("server %d: %v", i, err)
					return
				}
				if empty, err := s.Empty(context.WithoutCancel(t.Context())); err != nil || !empty {
					t.Errorf("server %d: empty is %t, %v", i, empty, err)
				}
				_ = s.Close()
			})
		}
		group.Wait()
	})
}

// Rolling back a migration would lose what is recorded: there is no statement for it.
func TestMigrationsGoForward(t *testing.T) {
	t.Parallel()
	files, err := fs.Glob(migrationFiles, "migrations/*/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		text, err := migrationFiles.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{"+goose Down", "DROP", "RENAME", "DELETE FROM", "UPDATE "} {
			if strings.Contains(string(text), word) {
				t.Errorf("%s has %q: a migration only adds", f, word)
			}
		}
	}
}

// Both databases have the same migrations, and the same columns in them.
func TestMigrationsOfBoth(t *testing.T) {
	t.Parallel()
	plain := strings.NewReplacer(` COLLATE "C"`, "", "BYTEA", "BLOB")
	read := func(dir string) string {
		var all strings.Builder
		files, err := fs.Glob(migrationFiles, "migrations/"+dir+"/*.sql")
		if err != nil || len(files) == 0 {
			t.Fatal(files, err)
		}
		for _, f := range files {
			text, err := migrationFiles.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			all.WriteString(strings.Join(strings.Fields(plain.Replace(string(text))), " ") + "\n")
		}
		return all.String()
	}
	if a, b := read("sqlite"), read("postgresql"); a != b {
		t.Errorf("SQLite has\n%s\nPostgreSQL has\n%s", a, b)
	}
}
