package cluster

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"pai.dev/pai/internal/machine"
)

// thisHost runs scripts on this host.
type thisHost struct{ machine.Host }

func (thisHost) Run(ctx context.Context, c machine.Command) (machine.Output, error) {
	out, err := exec.CommandContext(ctx, "sh", "-euc", c.Script).CombinedOutput()
	return machine.Output{Stdout: string(out)}, err
}

// The directory belongs to one user, and what is in it stays. A link is refused: it could
// name any directory.
func TestOwnDirectory(t *testing.T) {
	t.Parallel()
	const user = 65532
	if os.Getuid() != 0 {
		t.Skip("only root can make a directory belong to another user")
	}
	dir := filepath.Join(t.TempDir(), "it's", "history")
	owned := func(dir string) bool {
		t.Helper()
		is, err := OwnsDirectory(t.Context(), thisHost{}, dir, user)
		if err != nil {
			t.Fatal(err)
		}
		return is
	}
	if owned(dir) {
		t.Error("a directory that does not exist belongs to the user")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { // as a kubelet makes it
		t.Fatal(err)
	}
	if owned(dir) {
		t.Error("a directory of root belongs to the user")
	}
	for range 2 {
		if err := OwnDirectory(t.Context(), thisHost{}, dir, user); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{dir, filepath.Join(dir, "history.db")} {
			info, err := os.Stat(name)
			if err != nil && name != dir {
				continue // not yet
			}
			if err != nil {
				t.Fatal(err)
			}
			owner, ok := info.Sys().(*syscall.Stat_t)
			if !ok || owner.Uid != user || owner.Gid != user {
				t.Errorf("%s belongs to %+v", name, owner)
			}
			if name == dir && info.Mode().Perm() != 0o700 {
				t.Errorf("the mode of %s is %v", name, info.Mode())
			}
		}
		if !owned(dir) {
			t.Error("it does not belong to the user")
		}
		if err := os.WriteFile(filepath.Join(dir, "history.db"), []byte("jobs"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(filepath.Join(dir, "history.db"), 0, 0); err != nil {
			t.Fatal(err)
		}
		if owned(dir) {
			t.Error("a file of root in it was not noticed")
		}
	}
	if err := OwnDirectory(t.Context(), thisHost{}, dir, user); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if owned(dir) {
		t.Error("a directory that others can read was not noticed")
	}
	if data, err := os.ReadFile(filepath.Join(dir, "history.db")); err != nil || string(data) != "jobs" {
		t.Errorf("the history is %q, %v", data, err)
	}
	elsewhere := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(elsewhere, link); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(elsewhere, user, user); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(elsewhere, 0o700); err != nil { //nolint:gosec // a directory
		t.Fatal(err)
	}
	if owned(link) {
		t.Error("a link belongs to the user")
	}
	if err := OwnDirectory(t.Context(), thisHost{}, link, user); err == nil {
		t.Error("a link was followed")
	}
}
