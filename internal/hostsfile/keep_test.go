package hostsfile

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/layout"
)

const (
	ours   = "127.0.0.1 api.pai.internal # pai\n10.0.0.1 gpu-01 # pai\n"
	script = "# PAI's lines end in \"# pai\"; the others are left alone.\n{ grep -v '# pai$' /etc/hosts; cat <<'HOSTS'\n" + ours + "HOSTS\n} > /etc/hosts\n"
)

// newKeeper makes a machine that was prepared.
func newKeeper(t *testing.T) *Keeper {
	t.Helper()
	k := &Keeper{Root: t.TempDir(), Every: time.Millisecond, Log: slog.New(slog.DiscardHandler)}
	put(t, k, layout.PrepareScript, script)
	return k
}

func put(t *testing.T, k *Keeper, name, text string) {
	t.Helper()
	file := filepath.Join(k.Root, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func hosts(t *testing.T, k *Keeper) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(k.Root, layout.HostsFile))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func looks(t *testing.T, k *Keeper, want bool) {
	t.Helper()
	if restored, err := k.look(); restored != want || err != nil {
		t.Fatalf("got restored %v, %v, want %v", restored, err, want)
	}
}

func TestLinesAreRestored(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ text, want string }{
		"replaced by another program": {"127.0.0.1 localhost\n", "127.0.0.1 localhost\n" + ours},
		"written without a line end":  {"127.0.0.1 localhost", "127.0.0.1 localhost\n" + ours},
		"one line is missing":         {"127.0.0.1 api.pai.internal # pai\n127.0.0.1 localhost\n", "127.0.0.1 localhost\n" + ours},
		"older lines":                 {strings.Repeat("10.0.0.9 old # pai\n", 9) + "::1 x\n", "::1 x\n" + ours},
		"empty":                       {"", ours},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKeeper(t)
			put(t, k, layout.HostsFile, test.text)
			looks(t, k, false) // it can be in the middle of being written
			if got := hosts(t, k); got != test.text {
				t.Errorf("got %q at the first look, want the file left alone", got)
			}
			looks(t, k, true)
			if got := hosts(t, k); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			looks(t, k, false)
		})
	}
}

func TestFileThatChangesIsLeftAlone(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	for _, text := range []string{"", "127.0.0.1", "127.0.0.1 localhost\n"} {
		put(t, k, layout.HostsFile, text)
		looks(t, k, false)
	}
	put(t, k, layout.HostsFile, "127.0.0.1 localhost\n"+ours)
	looks(t, k, false)
	put(t, k, layout.HostsFile, "127.0.0.1 localhost\n")
	looks(t, k, false)
}

func TestMissingFileIsRestored(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	looks(t, k, false)
	looks(t, k, true)
	if got := hosts(t, k); got != ours {
		t.Errorf("got %q, want %q", got, ours)
	}
}

// A link, and what it names, stay: the file can be a mount point as well.
func TestLinkOfTheFileStays(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	put(t, k, "/srv/hosts", "::1 localhost\n")
	if err := os.Symlink("../srv/hosts", filepath.Join(k.Root, layout.HostsFile)); err != nil {
		t.Fatal(err)
	}
	looks(t, k, false)
	looks(t, k, true)
	target, err := os.Readlink(filepath.Join(k.Root, layout.HostsFile))
	if err != nil || target != "../srv/hosts" || hosts(t, k) != "::1 localhost\n"+ours {
		t.Errorf("got the link %q, %v, and %q", target, err, hosts(t, k))
	}
}

// A machine that is cleaned with its data has no prepare script, and gets no lines.
func TestCleanedMachineIsLeftAlone(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	put(t, k, layout.HostsFile, "::1 localhost\n")
	looks(t, k, false)
	if err := os.Remove(filepath.Join(k.Root, layout.PrepareScript)); err != nil {
		t.Fatal(err)
	}
	looks(t, k, false)
	looks(t, k, false)
	if got := hosts(t, k); got != "::1 localhost\n" {
		t.Errorf("got %q", got)
	}
}

func TestKeepLooksUntilItsContextEnds(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	var log bytes.Buffer
	k.Log = slog.New(slog.NewTextHandler(&log, nil))
	put(t, k, layout.HostsFile, "::1 localhost\n")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ended := make(chan struct{})
	go func() { k.Keep(ctx); close(ended) }()
	for !strings.HasSuffix(hosts(t, k), ours) && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	cancel()
	<-ended
	if got := hosts(t, k); got != "::1 localhost\n"+ours || !strings.Contains(log.String(), "they are restored") {
		t.Errorf("got %q, log %q", got, log.String())
	}
}
