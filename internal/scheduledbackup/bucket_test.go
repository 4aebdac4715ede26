package scheduledbackup

import (
	"crypto/ed25519"
	"os"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/backup"
	"pai.dev/pai/internal/backup/s3"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/test/s3test"
)

const keyFile = "/etc/pai-backup/credentials"

// inBucket lets a machine back up to a bucket.
func inBucket(t *testing.T, server s3test.Server) (*world, backup.Target) {
	t.Helper()
	w := newWorld(t)
	w.settings.To, w.settings.S3 = "s3://"+s3test.Bucket+"/lab", &backup.S3{Endpoint: server.URL, CredentialsFile: keyFile}
	w.configure()
	w.put(keyFile, "[default]\naws_access_key_id = "+s3test.Key+"\naws_secret_access_key = "+s3test.Secret+"\n")
	target, err := s3.Open(w.settings.To, backup.S3{Endpoint: server.URL}, s3.NewCredentials(s3test.Key, s3test.Secret))
	if err != nil {
		t.Fatal(err)
	}
	return w, target
}

// A machine backs up to a bucket, keeps as many as it should, and writes its key nowhere.
func TestMachineBacksUpToABucket(t *testing.T) {
	t.Parallel()
	w, target := inBucket(t, s3test.Start(t, "", "", ""))
	for i := range 3 {
		w.clock = time.Duration(i) * time.Hour
		if err := Run(t.Context(), w.Machine); err != nil {
			t.Fatal(err)
		}
	}
	found, err := backup.List(t.Context(), target, []ed25519.PublicKey{w.operator.Public().(ed25519.PublicKey)})
	if err != nil || len(found) != 2 {
		t.Fatalf("got %+v, %v, want the newest two", found, err)
	}
	for _, f := range found {
		if !f.Usable() || !f.ByMachine {
			t.Errorf("got %+v, want a backup that the operator trusts", f)
		}
	}
	if s := w.status(); s.Success == nil || s.Success.Name != found[0].Name || s.Success.To != w.settings.To {
		t.Errorf("got status %+v", s)
	}
	if entries, err := os.ReadDir(w.at(w.to)); err != nil || len(entries) > 0 {
		t.Errorf("got %v, %v in the directory, want nothing", entries, err)
	}
	for name, text := range map[string]string{"log": w.log.String(), "record": w.file(layout.BackupStatusFile), "settings": w.file(layout.ScheduledBackupFile)} {
		if strings.Contains(text, s3test.Secret) {
			t.Errorf("the %s has the key of the server: %s", name, text)
		}
	}
}

// A bucket that is not reachable fails the backup before it takes the lock, and the record
// says why.
func TestBucketThatIsNotReachable(t *testing.T) {
	t.Parallel()
	server := s3test.Start(t, "", "", "")
	for name, c := range map[string]struct {
		change func(w *world)
		want   string
	}{
		"no key":        {func(w *world) { _ = os.Remove(w.at(keyFile)) }, keyFile + ": no such file"}, // without it, the test is for nothing
		"key for all":   {func(w *world) { w.chmod(keyFile, 0o644) }, "others can read it"},
		"absent bucket": {func(w *world) { w.settings.To = "s3://absent/lab" }, "the bucket absent does not exist"},
		"no settings":   {func(w *world) { w.settings.S3 = nil }, "do not say how"},
		"no server":     {func(w *world) { w.settings.S3.Endpoint = "http://127.0.0.1:1" }, "not reachable"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, _ := inBucket(t, server)
			c.change(w)
			w.configure()
			err := Run(t.Context(), w.Machine)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if s := w.status(); !s.Failed() || !strings.Contains(s.Failure.Error, c.want) {
				t.Errorf("got %+v recorded, want %q", s, c.want)
			}
			if len(w.scripts) > 0 {
				t.Errorf("got the scripts %q, want none", w.scripts)
			}
		})
	}
}

func (w *world) chmod(name string, mode os.FileMode) {
	w.t.Helper()
	if err := os.Chmod(w.at(name), mode); err != nil {
		w.t.Fatal(err)
	}
}
