package storageprobe

import (
	"encoding/json"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/pai"
)

func TestFailuresAreNamed(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]Problem{
		syscall.EACCES: NotWritable, syscall.EPERM: NotWritable, syscall.EROFS: IsReadOnly, syscall.ENOSPC: Full, syscall.EDQUOT: Full,
		syscall.ETIMEDOUT: Silent, syscall.EIO: Failed, syscall.ESTALE: Failed, errDiffers: Differs, syscall.ENOENT: Missing, syscall.ENOTDIR: NotDirectory,
	} {
		if got := failure(err, NotWritable); got.Problem != want || got.Detail == "" {
			t.Errorf("%v: got %+v, want %s with a detail", err, got, want)
		}
	}
	if got := failure(syscall.EACCES, NotReadable); got.Problem != NotReadable {
		t.Errorf("got %+v, want %s", got, NotReadable)
	}
}

// Each problem has a different text, and something to do about it, for both types of storages.
func TestEveryProblemIsExplained(t *testing.T) {
	t.Parallel()
	for _, s := range []pai.Storage{{Name: "data", Type: pai.StorageNFS, Server: "nas", Path: "/export"}, {Name: "data", Type: pai.StorageDirectory, Path: "/mnt/data"}} {
		var all []string
		for _, p := range problems() {
			found, fix := Result{Problem: p, Detail: "the reason"}.Explain(s)
			if !strings.HasSuffix(found, " (the reason)") || fix == "" || slices.Contains(all, found) {
				t.Errorf("%s: got %q and %q, want a text of this problem, the detail, and a fix", p, found, fix)
			}
			all = append(all, found)
		}
	}
	if found, fix := (Result{}).Explain(pai.Storage{}); found != "" || fix != "" {
		t.Errorf("got %q and %q for no problem", found, fix)
	}
}

// A machine can print anything.
func TestResultsOfMachines(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Result{
		`{}`: {},
		`{"problem":"full","detail":"a\u001b[31mb\nc","writeMBs":-1,"readMBs":2.5,"freeBytes":-3}`: {Problem: Full, Detail: "a [31mb c", ReadMBs: 2.5},
		`{"problem":"new","detail":"x"}`:                          {Problem: Failed, Detail: "new: x"},
		`{"fileSystem":"nfs4\u0007","nfsVersion":"4.2"}` + "\n\n": {FileSystem: "nfs4", NFSVersion: "4.2"},
	} {
		if got, err := ReadResult([]byte(text)); err != nil || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "Welcome", `{"problem":3}`, `{}{}`, `{} x`, `{"detail":"` + strings.Repeat("x", MaxAnswer) + `"}`} {
		if got, err := ReadResult([]byte(text)); err == nil {
			t.Errorf("%.20q: got %+v, want an error", text, got)
		}
	}
}

func TestResultsArePrintableProperty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		sent := Result{
			Problem: Problem(rapid.SampledFrom([]string{"", "full", "failed", "x\x1b"}).Draw(t, "problem")), Detail: rapid.String().Draw(t, "detail"),
			FileSystem: rapid.String().Draw(t, "file system"), FreeBytes: rapid.Int64().Draw(t, "free"), WriteMBs: rapid.Float64().Draw(t, "write"),
		}
		data, err := json.Marshal(sent)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ReadResult(data)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{string(got.Problem), got.Detail, got.FileSystem, got.NFSVersion} {
			if !utf8.ValidString(text) || len(text) > maxDetail+len("…") || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Fatalf("got %q", text)
			}
		}
		if got.FreeBytes < 0 || got.WriteMBs < 0 || (got.Problem == "") != (sent.Problem == "") {
			t.Fatalf("got %+v of %+v", got, sent)
		}
	})
}

func TestFileSystemOfADirectory(t *testing.T) {
	t.Parallel()
	const mounts = `20 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 20 0:50 / /mnt/no\040data rw - lustre mds@tcp:/fs rw
31 20 0:51 / /mnt/data rw - nfs4 nas:/export rw,vers=4.2,rsize=1048576
32 20 0:52 / /mnt/data/below rw - xfs /dev/sdb1 rw
33 20 0:53 / /mnt/twice rw - nfs nas:/a rw,vers=3
34 20 0:54 / /mnt/twice rw - tmpfs tmpfs rw
35 20 broken
`
	for dir, want := range map[string]mounted{
		"/mnt/data":          {"/mnt/data", "nfs4", "4.2"},
		"/mnt/data/users":    {"/mnt/data", "nfs4", "4.2"},
		"/mnt/database":      {"/", "ext4", ""},
		"/mnt/data/below/x":  {"/mnt/data/below", "xfs", ""},
		"/mnt/no data/x":     {"/mnt/no data", "lustre", ""},
		"/mnt/twice":         {"/mnt/twice", "tmpfs", ""},
		"/nonexistent-place": {"/", "ext4", ""},
	} {
		if got := mountOf(mounts, dir); got != want {
			t.Errorf("%s: got %+v, want %+v", dir, got, want)
		}
	}
	if got := mountOf("", "/mnt"); got != (mounted{}) || got.local() {
		t.Errorf("got %+v without mounts", got)
	}
	for system, want := range map[string]bool{"ext4": true, "xfs": true, "overlay": true, "nfs4": false, "lustre": false, "fuse.x": false} {
		if (mounted{fileSystem: system}).local() != want {
			t.Errorf("%s: want local %v", system, want)
		}
	}
}
