package backup_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"pgregory.net/rapid"

	"pai.dev/pai/internal/backup"
	"pai.dev/pai/internal/pai"
)

func TestBackupIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mustWrite(t, manifestAt(taken))
	found, err := backup.Find(t.Context(), w.target, m.Name, w.trusted)
	if err != nil {
		t.Fatal(err)
	}
	if found.Content != m.Content || found.Recipients[0] != w.identity.Recipient().String() || found.Etcd.Secrets != 1 {
		t.Errorf("got %+v, want %+v", found, m)
	}
	files, err := w.read(t.Context(), found)
	if err != nil || !maps.Equal(files, contentOf()) {
		t.Errorf("got %v, %v, want what was written", files, err)
	}
	if err := backup.Verify(t.Context(), w.target, found, w.identities()); err != nil {
		t.Errorf("verify: %v", err)
	}
	if err := backup.Verify(t.Context(), w.target, found, nil); err != nil {
		t.Errorf("verify without an identity: %v", err)
	}
}

// Nothing of a content is readable without the private key, and no file in the
// directory is readable by others.
func TestContentIsEncrypted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mustWrite(t, manifestAt(taken))
	err := filepath.WalkDir(w.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || path == w.dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: got mode %o, want it readable by its owner only", path, info.Mode().Perm())
		}
		if d.IsDir() {
			return nil
		}
		data, err := os.ReadFile(path)
		for _, secret := range []string{"content of pki/ca.key", "the data of etcd", "secretbox", "operations"} {
			if bytes.Contains(data, []byte(secret)) {
				t.Errorf("%s has %q in clear text", path, secret)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	other, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	err = backup.Verify(t.Context(), w.target, m, []age.Identity{other})
	if pai.CodeOf(err) != pai.CodeRefused || !strings.Contains(pai.NextOf(err), m.Recipients[0]) {
		t.Errorf("with another key, got %v (%s), want a refusal that names the recipient", err, pai.NextOf(err))
	}
}

// Every changed, missing, or added byte of every object is found.
func TestDamageIsFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mustWrite(t, manifestAt(taken))
	whole := map[string][]byte{}
	for _, f := range []string{"content.age", "manifest.json", "signature.json"} {
		data, err := os.ReadFile(filepath.Join(w.dir, m.Name, f))
		if err != nil {
			t.Fatal(err)
		}
		whole[f] = data
	}
	rapid.Check(t, func(t *rapid.T) {
		file := rapid.SampledFrom(slices.Sorted(maps.Keys(whole))).Draw(t, "file")
		data := slices.Clone(whole[file])
		switch rapid.SampledFrom([]string{"flip", "cut", "append"}).Draw(t, "damage") {
		case "flip":
			data[rapid.IntRange(0, len(data)-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		case "cut":
			data = data[:rapid.IntRange(0, len(data)-1).Draw(t, "length")]
		case "append":
			if file == "signature.json" {
				t.Skip("white space after JSON means nothing")
			}
			data = append(data, ' ')
		}
		path := filepath.Join(w.dir, m.Name, file)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		defer os.WriteFile(path, whole[file], 0o600)
		found, err := backup.Find(t.Context(), w.target, m.Name, w.trusted)
		if err == nil {
			err = backup.Verify(t.Context(), w.target, found, w.identities())
		}
		if file == "content.age" && backup.Verify(t.Context(), w.target, m, nil) == nil {
			t.Error("the content is damaged, and the backup is verified without an identity")
		}
		if err == nil && file != "signature.json" {
			t.Errorf("%s is damaged, and the backup is verified", file)
		}
		if err == nil && (found.Content != m.Content || found.ClusterID != m.ClusterID) {
			t.Errorf("a damaged %s changes the manifest", file)
		}
	})
}

func TestTruncationIsNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mustWrite(t, manifestAt(taken))
	path := filepath.Join(w.dir, m.Name, "content.age")
	if err := os.Truncate(path, m.Content.Size-100); err != nil {
		t.Fatal(err)
	}
	if err := backup.Verify(t.Context(), w.target, m, nil); err == nil || !strings.Contains(err.Error(), "cut off") {
		t.Errorf("got %v, want that it is cut off", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := backup.Verify(t.Context(), w.target, m, nil); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("got %v, want that it is missing", err)
	}
}

func TestUntrustedBackupIsRefused(t *testing.T) {
	t.Parallel()
	w, stranger := newWorld(t), newWorld(t)
	m := w.mustWrite(t, manifestAt(taken))
	_, err := backup.Find(t.Context(), w.target, m.Name, stranger.trusted)
	if pai.CodeOf(err) != pai.CodeRefused {
		t.Errorf("got %v, want a refusal", err)
	}
	if _, err := backup.Find(t.Context(), w.target, m.Name, nil); err == nil {
		t.Error("without trusted keys the backup is trusted")
	}
	all, err := backup.List(t.Context(), w.target, stranger.trusted)
	if err != nil || len(all) != 1 || all[0].Usable() {
		t.Errorf("got %+v, %v, want one that is not usable", all, err)
	}
}

// A signature of another key in the name of a trusted one is found.
func TestForgedSignatureIsRefused(t *testing.T) {
	t.Parallel()
	w, stranger := newWorld(t), newWorld(t)
	m := w.mustWrite(t, manifestAt(taken))
	stranger.mustWrite(t, manifestAt(taken))
	read := func(w world, file string) map[string]any {
		data, err := os.ReadFile(filepath.Join(w.dir, m.Name, file))
		if err != nil {
			t.Fatal(err)
		}
		var content map[string]any
		if err := json.Unmarshal(data, &content); err != nil {
			t.Fatal(err)
		}
		return content
	}
	forged, other := read(w, "signature.json"), read(stranger, "signature.json")
	forged["signatures"].([]any)[0].(map[string]any)["signature"] = other["signatures"].([]any)[0].(map[string]any)["signature"]
	data, err := json.Marshal(forged)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, m.Name, "signature.json"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := backup.Find(t.Context(), w.target, m.Name, w.trusted); pai.CodeOf(err) != pai.CodeRefused {
		t.Errorf("got %v, want a refusal", err)
	}
}

// A backup that was moved over another one is not that one.
func TestManifestBelongsToItsName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.mustWrite(t, manifestAt(taken))
	later := backup.NameOf("lab", taken.Add(time.Hour))
	if err := os.Rename(filepath.Join(w.dir, m.Name), filepath.Join(w.dir, later)); err != nil {
		t.Fatal(err)
	}
	if _, err := backup.Find(t.Context(), w.target, later, w.trusted); err == nil {
		t.Error("a renamed backup is trusted")
	}
}

// Without a whole content there is no backup, and nothing is left.
func TestFailedBackupIsNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	failed := errors.New("the machine was lost")
	m := manifestAt(taken)
	_, err := backup.Write(t.Context(), w.target, m, backup.Options{Recipients: []string{w.identity.Recipient().String()}, Key: w.key},
		func(c *backup.Writer, _ *backup.Manifest) error {
			return errors.Join(c.Add(backup.JobsFile, 2, strings.NewReader("[]")), failed)
		})
	if !errors.Is(err, failed) {
		t.Errorf("got %v, want %v", err, failed)
	}
	if all, err := backup.List(t.Context(), w.target, w.trusted); err != nil || len(all) != 0 {
		t.Errorf("got %+v, %v, want no backup", all, err)
	}
	w.mustWrite(t, m)
	if _, err := w.write(t.Context(), m, contentOf()); pai.CodeOf(err) != pai.CodeConflict {
		t.Errorf("got %v for a second backup of the name, want a conflict", err)
	}
}

func TestWriterRefusesWhatNoBackupHas(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, name := range []string{"../etc/passwd", "state/../../x", "/etc/passwd", "pki//ca.key", "state/", "other", "state/a b", "state/a'b", "index.json", "", "state/é"} {
		_, err := w.write(t.Context(), manifestAt(taken), map[string]string{name: "x"})
		if err == nil {
			t.Errorf("file %q was written", name)
		}
	}
	_, err := backup.Write(t.Context(), w.target, manifestAt(taken), backup.Options{Recipients: []string{w.identity.Recipient().String()}, Key: w.key},
		func(c *backup.Writer, _ *backup.Manifest) error {
			return c.Add(backup.JobsFile, 5, strings.NewReader("[]"))
		})
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v for a file that ends too early, want %v", err, io.ErrUnexpectedEOF)
	}
}

// What is signed can still be hostile: its signer can have lost the key.
func TestHostileContentIsRefused(t *testing.T) {
	t.Parallel()
	regular := func(name string) tar.Header {
		return tar.Header{Typeflag: tar.TypeReg, Name: name, Size: 1, Mode: 0o600}
	}
	link := tar.Header{Typeflag: tar.TypeSymlink, Name: "state/link", Linkname: "/etc"}
	for _, c := range []struct {
		name    string
		headers []tar.Header
		want    string
	}{
		{"traversal", []tar.Header{regular("state/../../../etc/cron.d/x")}, "cannot have"},
		{"absolute", []tar.Header{regular("/etc/passwd")}, "cannot have"},
		{"unknown", []tar.Header{regular("bin/sh")}, "cannot have"},
		{"link", []tar.Header{link}, "regular"},
		{"twice", []tar.Header{regular("state/a"), regular("state/a")}, "duplicate"},
		{"no index", []tar.Header{regular("state/a")}, "cut off"},
		{"wrong index", []tar.Header{regular("state/a"), regular("index.json")}, "index"},
	} {
		var data bytes.Buffer
		files := tar.NewWriter(&data)
		for _, h := range c.headers {
			if err := files.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
			if h.Size > 0 {
				if _, err := files.Write([]byte("x")); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := files.Close(); err != nil {
			t.Fatal(err)
		}
		err := backup.ReadFiles(&data, func(string, int64, io.Reader) error { return nil })
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

func TestVerifyFindsWhatARestoreWouldLack(t *testing.T) {
	t.Parallel()
	other := [32]byte{9}
	for _, c := range []struct {
		name   string
		change func(files map[string]string)
		want   string
	}{
		{"no authority", func(f map[string]string) { delete(f, backup.PKIDir+"etcd/ca.key") }, "etcd/ca.key"},
		{"no snapshot", func(f map[string]string) { delete(f, backup.SnapshotFile) }, backup.SnapshotFile},
		{"no list of jobs", func(f map[string]string) { delete(f, backup.JobsFile) }, backup.JobsFile},
		{"a damaged snapshot", func(f map[string]string) { f[backup.SnapshotFile] += "x" }, "damaged"},
		{"an empty snapshot", func(f map[string]string) { f[backup.SnapshotFile] = "" }, "0 bytes"},
		{"the key of another cluster", func(f map[string]string) { f[backup.EncryptionFile] = encryptionOf(other) }, "no key"},
		{"a Secret in clear text", func(f map[string]string) { f[backup.SecretFile] = `{"key":"/registry/secrets/a/b","value":"azhz"}` }, "not encrypted"},
		{"no Secret", func(f map[string]string) { delete(f, backup.SecretFile) }, backup.SecretFile},
	} {
		w := newWorld(t)
		files := contentOf()
		c.change(files)
		m, err := w.write(t.Context(), manifestAt(taken), files)
		if err != nil {
			t.Fatal(err)
		}
		err = backup.Verify(t.Context(), w.target, m, w.identities())
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "AAAA") {
			t.Errorf("%s: the error has a key: %v", c.name, err)
		}
	}
}

func TestPrivateKeyIsNoRecipient(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := backup.Recipients([]string{w.identity.String()})
	if pai.CodeOf(err) != pai.CodeUsage || strings.Contains(err.Error(), "1") {
		t.Errorf("got %v, want a usage error without the key", err)
	}
	for _, bad := range [][]string{nil, {""}, {"age1"}, {"ssh-ed25519 AAAA"}} {
		if _, err := backup.Recipients(bad); pai.CodeOf(err) != pai.CodeUsage {
			t.Errorf("%q: got %v, want a usage error", bad, err)
		}
	}
}

func TestIdentityFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	file := filepath.Join(t.TempDir(), "identity")
	if _, err := backup.Identities(file); pai.CodeOf(err) != pai.CodeUsage {
		t.Errorf("got %v for a missing file", err)
	}
	if err := os.WriteFile(file, []byte("# created\n"+w.identity.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if found, err := backup.Identities(file); err != nil || len(found) != 1 {
		t.Errorf("got %v, %v, want one identity", found, err)
	}
	if err := os.WriteFile(file, []byte(w.identity.String()[:40]), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := backup.Identities(file); err == nil || strings.Contains(err.Error(), "AGE-SECRET") {
		t.Errorf("got %v, want an error that does not quote the file", err)
	}
}
