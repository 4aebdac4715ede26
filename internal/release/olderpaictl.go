package release

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"pai.dev/pai/internal/atomicfile"
	"pai.dev/pai/internal/pai"
)

// olderPaictl is the paictl of a commit. It is a directory of the cache with the
// program and its digest.
type olderPaictl struct {
	commit string
	dir    string
}

// FrozenPaictl is the file of the paictl that builds the release of a commit, once
// the release was built in the cache.
func FrozenPaictl(cacheDir, commit string) string {
	return filepath.Join(cacheDir, "frozen", commit, "paictl")
}

func (p olderPaictl) program() string { return filepath.Join(p.dir, "paictl") }

func (p olderPaictl) digestFile() string { return filepath.Join(p.dir, "paictl.sha256") }

// intact reports whether the program has the content that was compiled.
func (p olderPaictl) intact() bool {
	digest, err := os.ReadFile(p.digestFile())
	if err != nil {
		return false
	}
	info, err := os.Stat(p.program())
	return err == nil && info.Mode().Perm()&0o111 != 0 && cachedFile{Digest: strings.TrimSpace(string(digest)), file: p.program()}.intact()
}

// compile makes the directory from the sources of the commit. work is a new
// directory on the same file system.
func (p olderPaictl) compile(ctx context.Context, g goTool, source, work string) error {
	made := olderPaictl{p.commit, filepath.Join(work, "paictl")}
	if err := os.Mkdir(made.dir, 0o755); err != nil {
		return err
	}
	// From v0.11 on, a source tree has a script that builds paictl, with what
	// paictl carries.
	command := []string{"go", "build", "-buildvcs=false", "-trimpath", "-o", made.program(), "./cmd/paictl"}
	if _, err := os.Stat(filepath.Join(source, "hack", "build.sh")); err == nil {
		command = []string{"bash", "hack/build.sh", made.program()}
	}
	cmd := g.command(ctx, source, "nice", append([]string{"-n", "10"}, command...)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := runBound(cmd); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("compile paictl (commit %s): %w", p.commit, ctx.Err())
		}
		return fmt.Errorf("compile paictl (commit %s): %w\n%s", p.commit, err, tail(out.String()))
	}
	file, err := os.Open(made.program())
	if err != nil {
		return fmt.Errorf("compile paictl (commit %s): %w", p.commit, err)
	}
	defer file.Close()
	d := newDigester(io.Discard)
	if _, err := io.Copy(d, file); err != nil {
		return fmt.Errorf("read paictl (commit %s): %w", p.commit, err)
	}
	if err := atomicfile.Write(made.digestFile(), []byte(d.digest()+"\n"), 0o644); err != nil {
		return fmt.Errorf("store paictl (commit %s): %w", p.commit, err)
	}
	return errors.Join(os.Chmod(made.program(), 0o755), file.Sync(), place(made.dir, p.dir))
}

// build runs `paictl release build` of the commit on its sources, and returns the
// digest of the bundle that it made. Its progress is passed on.
func (p olderPaictl) build(ctx context.Context, o BuildOptions, source string) (string, error) {
	cmd := goTool{env: olderEnv(os.Environ(), o.CacheDir)}.command(ctx, source, p.program(),
		"release", "build", o.Release, "--source", source, "--key", o.KeyFile, "-o", "json")
	var out bytes.Buffer
	messages := &progressLines{report: func(line string) { o.Progress("%s", line) }}
	cmd.Stdout, cmd.Stderr = &out, messages
	if err := runBound(cmd); err != nil {
		if ctx.Err() != nil {
			return "", fmt.Errorf("build release %s with paictl (commit %s): %w", o.Release, p.commit, ctx.Err())
		}
		message, next := messages.failure()
		return "", &pai.Error{Code: pai.CodeFailed, Next: next,
			Err: fmt.Errorf("build release %s with paictl (commit %s): %w\n%s", o.Release, p.commit, err, message)}
	}
	var built []struct{ Release, Digest string }
	if err := json.Unmarshal(out.Bytes(), &built); err != nil || len(built) != 1 || built[0].Release != o.Release {
		return "", fmt.Errorf("build release %s with paictl (commit %s): unexpected output %q (%w)", o.Release, p.commit, tail(out.String()), err)
	}
	return built[0].Digest, nil
}

// runBound runs a command that ends with this process.
func runBound(cmd *exec.Cmd) error {
	cmd.SysProcAttr.Pdeathsig = syscall.SIGTERM
	// Linux sends the signal when the thread that started the process ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return cmd.Run()
}

// olderEnv is environ with the cache of this build.
func olderEnv(environ []string, cacheDir string) []string {
	const name = "PAI_CACHE_DIR="
	env := slices.DeleteFunc(slices.Clone(environ), func(e string) bool { return strings.HasPrefix(e, name) })
	return append(env, name+cacheDir)
}

// progressLines passes on the lines that paictl prints, up to its error.
type progressLines struct {
	report func(string)
	rest   []byte   // of an incomplete line
	failed []string // the lines of the error
}

func (l *progressLines) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		line, rest, whole := bytes.Cut(l.rest, []byte("\n"))
		if !whole {
			return len(p), nil
		}
		l.rest = rest
		l.line(string(line))
	}
}

func (l *progressLines) line(s string) {
	if len(l.failed) > 0 || strings.HasPrefix(s, "paictl: ") {
		l.failed = append(l.failed, s)
		return
	}
	l.report(s)
}

// failure is the error that paictl printed, and what to do next.
func (l *progressLines) failure() (message, next string) {
	text := strings.Join(append(l.failed, string(l.rest)), "\n")
	message, next, _ = strings.Cut(text, "\n  → ")
	return tail(message), strings.TrimSpace(strings.ReplaceAll(next, "\n    ", "\n"))
}
