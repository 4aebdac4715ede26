package history

import (
	"io/fs"
	"strings"
	"testing"
)

func TestMigrationsUpAndDown(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, open func() *Store) {
		s := open()
		put(t, s, Record{Status: some("u1", "ada", "train")})
		m, err := migrations(s.db, s.d)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.DownTo(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		if err := s.Check(t.Context()); err == nil {
			t.Error("the tables are there after the way down")
		}
		again := open()
		if empty, err := again.Empty(t.Context()); err != nil || !empty {
			t.Errorf("empty: %t, %v", empty, err)
		}
		put(t, again, Record{Status: some("u1", "ada", "train")})
	})
}

// A server of an older release goes on with the tables of a newer one.
func TestNewerTablesStay(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, open func() *Store) {
		s := open()
		put(t, s, Record{Status: some("u1", "ada", "train")})
		for _, statement := range []string{
			"ALTER TABLE jobs ADD COLUMN later BIGINT NOT NULL DEFAULT 0", "INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, TRUE)",
		} {
			if _, err := s.db.ExecContext(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
		older := open()
		put(t, older, Record{Status: some("u2", "ada", "other")})
		if _, total, err := older.List(t.Context(), Query{Limit: 1}, nil); err != nil || total != 2 {
			t.Errorf("got %d, %v", total, err)
		}
	})
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
