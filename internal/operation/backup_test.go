package operation

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"golang.org/x/crypto/nacl/secretbox"

	"pai.dev/pai/internal/backup"
	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/pai"
)

// machineWith answers a backup as a machine does, with the Secret encrypted by a key.
func machineWith(configured, used byte) func(func(cluster.BackupFacts) error, func(string, int64, io.Reader) error) error {
	snapshot := []byte("the data of etcd")
	sum := sha256Of(snapshot)
	key, nonce := [32]byte{used}, [24]byte{1}
	encoded := base64.StdEncoding.EncodeToString(slices.Concat([]byte{configured}, make([]byte, 31)))
	files := map[string]string{
		backup.SnapshotFile:   string(snapshot) + sum,
		backup.EncryptionFile: "resources:\n- resources: [secrets]\n  providers:\n  - secretbox:\n      keys:\n      - name: key1\n        secret: " + encoded + "\n",
	}
	for _, f := range backup.AuthorityFiles() {
		files[f] = f
	}
	return func(facts func(cluster.BackupFacts) error, file func(string, int64, io.Reader) error) error {
		value := append([]byte("k8s:enc:secretbox:v1:key1:"), secretbox.Seal(nonce[:], []byte("k8s\x00x"), &nonce, &key)...)
		err := facts(cluster.BackupFacts{Revision: 7, Keys: 3, Secrets: 1, SecretKey: "/registry/secrets/a/b", SecretValue: value, Jobs: cluster.JobData{}})
		for _, name := range slices.Sorted(maps.Keys(files)) {
			err = errors.Join(err, file(name, int64(len(files[name])), strings.NewReader(files[name])))
		}
		return err
	}
}

// A backup whose key does not decrypt its Secrets is none, whatever else it has.
func TestBackupDecryptsASecretBeforeItCounts(t *testing.T) {
	t.Parallel()
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		configured, used byte
		ok               bool
	}{{7, 7, true}, {7, 8, false}} {
		target, err := backup.OpenTarget(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		m := backup.Manifest{Name: backup.NameOf("lab", time.Now()), ClusterID: "lab", Kubernetes: "v0.11-pai"}
		m, err = backup.Write(t.Context(), target, m, backup.Options{Recipients: []string{identity.Recipient().String()}, Key: key},
			func(w *backup.Writer, m *backup.Manifest) error {
				return fillBackup(w, m, machineWith(c.configured, c.used))
			})
		if (err == nil) != c.ok {
			t.Errorf("key %d, Secret by key %d: got %v, want success %t", c.configured, c.used, err, c.ok)
		}
		found, err := backup.List(t.Context(), target, []ed25519.PublicKey{public})
		if err != nil || len(found) == 1 != c.ok {
			t.Errorf("key %d, Secret by key %d: got %d backups, %v", c.configured, c.used, len(found), err)
		}
		if c.ok && (m.Etcd.Revision != 7 || m.Etcd.Secrets != 1 || m.Taken.IsZero()) {
			t.Errorf("got manifest %+v, want the facts of the snapshot", m)
		}
		if c.ok {
			if err := backup.Verify(t.Context(), target, m, []age.Identity{identity}); err != nil {
				t.Error(err)
			}
		}
	}
}

// A machine that ends in the middle leaves no backup.
func TestBackupOfALostMachine(t *testing.T) {
	t.Parallel()
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	target, err := backup.OpenTarget(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	lost := errors.New("the connection was lost")
	m := backup.Manifest{Name: backup.NameOf("lab", time.Now()), ClusterID: "lab", Kubernetes: "v0.11-pai"}
	_, err = backup.Write(t.Context(), target, m, backup.Options{Recipients: []string{identity.Recipient().String()}, Key: key},
		func(w *backup.Writer, m *backup.Manifest) error {
			return fillBackup(w, m, func(_ func(cluster.BackupFacts) error, file func(string, int64, io.Reader) error) error {
				return file(backup.SnapshotFile, 100, io.MultiReader(bytes.NewReader(make([]byte, 10)), failingReader{lost}))
			})
		})
	if !errors.Is(err, lost) {
		t.Errorf("got %v, want %v", err, lost)
	}
}

func sha256Of(data []byte) string {
	sum := sha256.Sum256(data)
	return string(sum[:])
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

func compared() cluster.Comparison {
	job := func(name, state string) cluster.BackupJob {
		return cluster.BackupJob{JobRef: pai.JobRef{User: "ann", Name: name}, State: state}
	}
	return cluster.Comparison{
		Running: []cluster.BackupJob{job("runs", "RUNNING")}, Waiting: []cluster.BackupJob{job("waits", "WAITING")},
		Held:    []cluster.HeldJob{{BackupJob: job("held", "RUNNING"), Why: "pod p no longer exists on m1"}},
		Younger: map[string][]inspect.Container{"m2": {{ID: "c1", Pod: "young", Name: "task"}}},
		Unknown: map[string]error{"m3": errors.New("no answer")},
	}
}

// What a restore does to each job is listed before and after.
func TestRestoreNamesEveryJob(t *testing.T) {
	t.Parallel()
	notes := strings.Join(comparisonNotes(compared()), "\n")
	for _, want := range []string{"keep running: ann~runs", "ann~held (was RUNNING; pod p no longer exists on m1)", "ann~waits", "young on m2", "m3 (no answer)"} {
		if !strings.Contains(notes, want) {
			t.Errorf("the notes lack %q:\n%s", want, notes)
		}
	}
	r := recordOf(backup.Manifest{Name: "b", Taken: time.Now()}, compared(), nil)
	records := map[string]pai.RecordOutcome{}
	for _, j := range r.Jobs {
		records[j.Job] = j.Record
	}
	want := map[string]pai.RecordOutcome{"ann~held": pai.RecordHeld, "ann~waits": pai.RecordEarlier, "unknown on m2": pai.RecordLost}
	if !r.Backup || !maps.Equal(records, want) || !strings.Contains(r.Unknown, "m3") {
		t.Errorf("got %+v, want %v", r, want)
	}
	// A second run finds the held job ended, and still names it.
	again := recordOf(backup.Manifest{Name: "b"}, cluster.Comparison{}, r)
	if len(again.Jobs) != 1 || again.Jobs[0].Job != "ann~held" {
		t.Errorf("got %+v after a second run, want the held job", again.Jobs)
	}
	if _, err := json.Marshal(again); err != nil {
		t.Error(err)
	}
}
