package run

import (
	"os"
	"path/filepath"
	"testing"

	"pai.dev/pai/test/runtest"
)

// FuzzJournal reads a journal and a lock of any content, as a machine could have them.
func FuzzJournal(f *testing.F) {
	f.Add([]byte(`{"id":"20260301T120000.000Z","verb":"upgrade","log":1}`), []byte("{\"step\":\"a\"}\n{\"st"), []byte(`{"operator":"a","host":"b"}`))
	f.Add([]byte(`{}`), []byte("\n\n"), []byte(`{"released":true}`))
	f.Fuzz(func(t *testing.T, record, log, lock []byte) {
		store := runtest.Dir(t.TempDir())
		const id = "20260301T120000.000Z"
		for path, data := range map[string][]byte{Dir + "/operations/" + id + ".json": record, Dir + "/operations/" + id + ".1.log": log, LockFile(1): lock} {
			if err := os.MkdirAll(filepath.Dir(store.At(path)), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(store.At(path), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		j := NewJournal(store)
		all, err := j.List(t.Context())
		if err == nil && len(all) != 1 {
			t.Errorf("got %d operations and no error, want 1", len(all))
		}
		_, _ = j.Current(t.Context())
		_, _, _ = Current(t.Context(), store)
	})
}
