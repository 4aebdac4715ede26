package release

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"pai.dev/pai/internal/pai"
)

// history is the git history that a source tree has.
type history struct{ dir string }

// extract writes the files of a commit into an empty directory.
func (h history) extract(ctx context.Context, commit, to string) error {
	if err := h.find(ctx, commit); err != nil {
		return err
	}
	// The settings of the operator must not change the files.
	cmd := h.command(ctx, "-c", "core.autocrlf=false", "-c", "core.eol=lf", "-c", "tar.umask=0022", "archive", "--format=tar", commit)
	var messages bytes.Buffer
	cmd.Stderr = &messages
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return fmt.Errorf("read the sources of commit %s: %w", commit, err)
	}
	unpacked := unpackArchive(to, out)
	if unpacked != nil {
		_ = cmd.Cancel() // git would wait for its reader
	}
	if err := errors.Join(unpacked, cmd.Wait()); err != nil {
		return fmt.Errorf("read the sources of commit %s: %w\n%s", commit, errors.Join(ctx.Err(), err), tail(messages.String()))
	}
	return nil
}

// find returns nil if the history has a commit. The error says what to do.
func (h history) find(ctx context.Context, commit string) error {
	_, missing := h.run(ctx, "cat-file", "-e", commit+"^{commit}")
	if missing == nil {
		return nil
	}
	if errors.Is(missing, exec.ErrNotFound) {
		return &pai.Error{Code: pai.CodeFailed, Message: "the sources of commit " + commit + " are read with git", Err: missing,
			Next: "run: apt-get install git\n" + withoutHistory}
	}
	if ctx.Err() != nil {
		return fmt.Errorf("find commit %s: %w", commit, ctx.Err())
	}
	shallow, err := h.run(ctx, "rev-parse", "--is-shallow-repository")
	switch {
	case err != nil:
		return &pai.Error{Code: pai.CodeFailed, Message: fmt.Sprintf("commit %s: the source tree %s has no git history", commit, h.dir), Err: err,
			Next: "name a clone of the PAI repository with --source\n" + withoutHistory}
	case shallow == "true":
		return pai.Errorf(pai.CodeFailed, fmt.Sprintf("run: git -C %s fetch --unshallow\n%s", h.dir, withoutHistory),
			"commit %s not found: the clone %s is shallow", commit, h.dir)
	default:
		return pai.Errorf(pai.CodeFailed, fmt.Sprintf("fetch it from the PAI repository, run: git -C %s fetch --all\n%s", h.dir, withoutHistory),
			"commit %s not found in the git history of %s: %w", commit, h.dir, missing)
	}
}

// withoutHistory is what to do if the history cannot be had.
const withoutHistory = "or build and export the release on a host with the history, and import it here, run: paictl release import FILE"

func (h history) run(ctx context.Context, args ...string) (string, error) {
	cmd := h.command(ctx, args...)
	var messages bytes.Buffer
	cmd.Stderr = &messages
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("git %s: %w\n%s", args[0], err, tail(messages.String()))
	}
	return strings.TrimSpace(string(out)), err
}

func (h history) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", h.dir}, args...)...)
	cmd.Env = historyEnv(os.Environ())
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// historyEnv is environ without what leads git to another repository or to other
// content under the same ID, as in a git hook.
func historyEnv(environ []string) []string {
	env := slices.DeleteFunc(slices.Clone(environ), func(e string) bool { return strings.HasPrefix(e, "GIT_") })
	return append(env, "GIT_NO_REPLACE_OBJECTS=1", "GIT_OPTIONAL_LOCKS=0", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C")
}

// unpackArchive writes the files of an archive of git into a directory, and nothing
// outside it.
func unpackArchive(dir string, r io.Reader) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	archive := tar.NewReader(r)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			_, err := io.Copy(io.Discard, r) // git ends when all is read
			return err
		}
		if err == nil {
			err = unpackFile(root, header, archive)
		}
		if err != nil {
			return fmt.Errorf("unpack the archive: %w", err)
		}
	}
}

func unpackFile(root *os.Root, header *tar.Header, content io.Reader) error {
	if header.Typeflag == tar.TypeXGlobalHeader { // names the commit
		return nil
	}
	name := filepath.FromSlash(strings.TrimSuffix(header.Name, "/"))
	if header.Typeflag == tar.TypeDir {
		return root.MkdirAll(name, 0o755)
	}
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	switch header.Typeflag {
	case tar.TypeReg:
		file, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, header.FileInfo().Mode().Perm())
		if err != nil {
			return err
		}
		_, err = io.Copy(file, content)
		return errors.Join(err, file.Close())
	case tar.TypeSymlink:
		return root.Symlink(header.Linkname, name)
	default:
		return fmt.Errorf("%s has the unknown type %q", header.Name, header.Typeflag)
	}
}
