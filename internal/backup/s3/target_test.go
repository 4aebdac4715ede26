package s3_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"pai.dev/pai/internal/backup"
	"pai.dev/pai/internal/backup/s3"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/test/s3test"
)

// A backup in a bucket is read as it was written, also one of several parts.
func TestBackupInABucket(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	if err := s3.Reach(ctx, w.target); err != nil {
		t.Fatal(err)
	}
	if usable, others := w.names(t); len(usable)+len(others) > 0 {
		t.Errorf("got %v, %v in an empty bucket", usable, others)
	}
	for i, size := range []int64{1000, 40 << 20} {
		m := w.write(ctx, t, taken.Add(time.Duration(i)*time.Minute), size)
		found, err := backup.Find(ctx, w.target, m.Name, w.trusted)
		if err != nil || found.Content != m.Content {
			t.Fatalf("got %+v, %v, want %+v", found, err, m)
		}
		got, want := sha256.New(), sha256.New()
		err = backup.Read(ctx, w.target, found, []age.Identity{w.identity}, func(_ string, _ int64, from io.Reader) error {
			_, err := io.Copy(got, from)
			return err
		})
		if _, failed := io.CopyN(want, noise(), size); failed != nil || err != nil || !slices.Equal(got.Sum(nil), want.Sum(nil)) {
			t.Errorf("the content of %d bytes is another: %v", size, errors.Join(err, failed))
		}
		if err := backup.Verify(ctx, w.target, found, nil); err != nil {
			t.Error(err)
		}
		err = w.target.Put(ctx, m.Name+"/manifest.json", func(io.Writer) error { return nil })
		if !errors.Is(err, fs.ErrExist) {
			t.Errorf("got %v for an object that exists, want an error", err)
		}
	}
	if _, err := w.target.Open(ctx, backup.NameOf("lab", taken.Add(time.Hour))+"/manifest.json"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v for an absent object", err)
	}
	for _, key := range []string{"x", "../content.age", "lab-20261120t100000z/../x", "lab-20261120t100000z/other"} {
		if err := w.target.Put(ctx, key, func(io.Writer) error { return nil }); err == nil {
			t.Errorf("key %q was written", key)
		}
		if err := w.target.Delete(ctx, key); err == nil {
			t.Errorf("key %q was deleted", key)
		}
	}
}

// What others keep in the bucket is neither listed nor deleted, and only older backups of
// the key are.
func TestRetentionInABucket(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	name := backup.NameOf("lab", taken)
	foreign := []string{"notes.txt", "pai/lab/notes.txt", "pai/lab/" + name + "/notes.txt", "pai/lab/" + name + "/deep/content.age",
		"pai/lab-2/" + name + "/manifest.json", name + "/manifest.json", "pai/lab/LAB-20261120T100000Z/manifest.json"}
	for _, key := range foreign {
		w.put(t, key, "of someone else")
	}
	if usable, others := w.names(t); len(usable)+len(others) > 0 {
		t.Errorf("got %v, %v, want nothing of others", usable, others)
	}
	for i := range 3 {
		w.write(ctx, t, taken.Add(time.Duration(i)*time.Hour), 10)
	}
	w.put(t, "pai/lab/"+backup.NameOf("lab", taken.Add(time.Minute))+"/content.age", "half")
	now := taken.Add(26 * time.Hour)
	deleted, err := backup.Prune(ctx, w.target, "lab", 2, w.trusted[0], now)
	want := []string{backup.NameOf("lab", taken.Add(time.Minute)), name}
	slices.Sort(deleted)
	slices.Sort(want)
	if err != nil || !slices.Equal(deleted, want) {
		t.Errorf("got %v deleted, %v, want %v", deleted, err, want)
	}
	usable, others := w.names(t)
	if newest := []string{backup.NameOf("lab", taken.Add(2*time.Hour)), backup.NameOf("lab", taken.Add(time.Hour))}; !slices.Equal(usable, newest) || len(others) > 0 {
		t.Errorf("got %v, %v, want %v", usable, others, newest)
	}
	left := w.files(t)
	for _, key := range foreign {
		if !slices.Contains(left, key) {
			t.Errorf("%s was deleted", key)
		}
	}
	if len(left) != len(foreign)+6 {
		t.Errorf("got %v left", left)
	}
}

// killedEndpoint is the environment of the process that TestKilledUpload kills.
const killedEndpoint = "PAI_TEST_KILLED_ENDPOINT"

// A process that is killed in the middle of an upload leaves no backup. What it left is
// listed as incomplete, and deleted by the next backup a day later.
func TestKilledUpload(t *testing.T) {
	t.Parallel()
	if endpoint := os.Getenv(killedEndpoint); endpoint != "" {
		uploadForever(t, endpoint)
		return
	}
	w := newWorld(t)
	w.write(t.Context(), t, taken.Add(-time.Hour), 10)
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledUpload$")
	child.Env = append(os.Environ(), killedEndpoint+"="+w.server.URL)
	out, err := child.StdoutPipe()
	if err == nil {
		err = child.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan() && !strings.Contains(lines.Text(), "partially written"); {
		t.Log(lines.Text())
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // killed
	name := backup.NameOf("lab", taken)
	if usable, others := w.names(t); len(usable) != 1 || !slices.Equal(others, []string{name}) {
		t.Errorf("got %v, %v, want %s as incomplete", usable, others, name)
	}
	for _, c := range []struct {
		after time.Duration
		left  int
	}{{time.Hour, 1}, {25 * time.Hour, 0}} {
		deleted, err := backup.PruneIncomplete(t.Context(), w.target, "lab", taken.Add(c.after))
		if _, others := w.names(t); err != nil || len(others) != c.left {
			t.Errorf("after %s: got %v, deleted %v, %v; want %d left", c.after, others, deleted, err, c.left)
		}
	}
	if left, err := filepath.Glob(filepath.Join(w.server.Dir, ".sgwtmp", "multipart", "*")); err != nil || len(left) > 0 {
		t.Errorf("the server still has parts: %v, %v", left, err)
	}
	if usable, _ := w.names(t); len(usable) != 1 {
		t.Errorf("got %v, want the complete one to stay", usable)
	}
}

// uploadForever writes two parts of an object, and then waits to be killed.
func uploadForever(t *testing.T, endpoint string) {
	w := world{server: s3test.Server{URL: endpoint}}
	target := w.open(t, "s3://"+s3test.Bucket+"/pai/lab")
	err := target.Put(t.Context(), backup.NameOf("lab", taken)+"/content.age", func(to io.Writer) error {
		if _, err := io.CopyN(to, noise(), 40<<20); err != nil {
			return err
		}
		if _, err := os.Stdout.WriteString("\npartially written\n"); err != nil {
			return err
		}
		<-t.Context().Done()
		return context.Cause(t.Context())
	})
	t.Error(err)
}

// An upload that fails leaves nothing.
func TestFailedUploadLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	wrong := errors.New("etcd was deleted")
	ctx, cancel := context.WithCancelCause(t.Context())
	for _, fail := range []func() error{
		func() error { return wrong },
		func() error { cancel(wrong); return nil },
	} {
		err := w.target.Put(ctx, backup.NameOf("lab", taken)+"/content.age", func(to io.Writer) error {
			if _, err := io.CopyN(to, noise(), 40<<20); err != nil {
				return err
			}
			return fail()
		})
		if !errors.Is(err, wrong) {
			t.Errorf("got %v, want %v", err, wrong)
		}
		if usable, others := w.names(t); len(usable)+len(others) > 0 {
			t.Errorf("got %v, %v, want nothing", usable, others)
		}
	}
}

// Each failure says what happened, where, and what to do, and has no secret.
func TestErrorsOfABucket(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cert, key := certificate(t)
	secure := s3test.Start(t, cert, key, "")
	good := s3.NewCredentials(s3test.Key, s3test.Secret)
	for _, c := range []struct {
		name, to string
		settings backup.S3
		key      s3.Credentials
		want     string
		code     pai.Code
	}{
		{"absent bucket", "s3://absent/x", backup.S3{Endpoint: w.server.URL}, good, "the bucket absent does not exist", pai.CodeNotFound},
		{"wrong secret", "s3://backups", backup.S3{Endpoint: w.server.URL}, s3.NewCredentials(s3test.Key, "another-secret"), "does not accept the key (SignatureDoesNotMatch)", pai.CodeForbidden},
		{"unknown key", "s3://backups", backup.S3{Endpoint: w.server.URL}, s3.NewCredentials("someone", "another-secret"), "does not accept the key (XAdminUserNotFound)", pai.CodeForbidden},
		{"another region", "s3://backups", backup.S3{Endpoint: w.server.URL, Region: "eu-central-1"}, good, "in another region", pai.CodeUsage},
		{"no server", "s3://backups", backup.S3{Endpoint: "http://127.0.0.1:1"}, good, "not reachable", pai.CodeFailed},
		{"no name", "s3://backups", backup.S3{Endpoint: "http://nothing.invalid"}, good, "is not found", pai.CodeFailed},
		{"certificate", "s3://backups", backup.S3{Endpoint: secure.URL}, good, "certificate of the server is not trusted", pai.CodeFailed},
		{"no TLS", "s3://backups", backup.S3{Endpoint: strings.Replace(w.server.URL, "http:", "https:", 1)}, good, "does not speak TLS", pai.CodeFailed},
		{"own authority", "s3://backups", backup.S3{Endpoint: secure.URL, CAFile: cert}, good, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			target, err := s3.Open(c.to, c.settings, c.key)
			if err != nil {
				t.Fatal(err)
			}
			err = s3.Reach(t.Context(), target)
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			next := new(pai.Error)
			if err == nil || !strings.Contains(err.Error(), c.want) || pai.CodeOf(err) != c.code || !errors.As(err, &next) || next.Next == "" {
				t.Fatalf("got %v (%s), want %q (%s) and a next step", err, pai.CodeOf(err), c.want, c.code)
			}
			if text := err.Error(); !strings.Contains(text, c.to) || !strings.Contains(text, c.settings.Endpoint) ||
				strings.Contains(text, s3test.Secret) || strings.Contains(text, "another-secret") {
				t.Errorf("got %q, want the place and no secret", text)
			}
			if _, err := backup.List(t.Context(), target, nil); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("a list says %v, want %q", err, c.want)
			}
		})
	}
}
