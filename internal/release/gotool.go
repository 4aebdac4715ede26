package release

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"

	"pai.dev/pai/internal/pai"
)

// goTool runs the go command so that nothing of the user's settings changes
// what comes out.
type goTool struct {
	env     []string
	version string // "go1.26.8 linux/amd64"
}

// newGoTool finds the go command. Modules are always checked: go.sum is never
// added to, and a checksum database that was switched off is an error.
func newGoTool(ctx context.Context, cgo bool) (goTool, error) {
	g := goTool{env: buildEnv(os.Environ(), cgo)}
	out, err := g.run(ctx, ".", "env", "GOVERSION", "GOSUMDB")
	if errors.Is(err, exec.ErrNotFound) {
		return g, &pai.Error{Code: pai.CodeFailed, Message: "building a bundle needs Go", Next: "install Go 1.26 or newer, and put it in PATH", Err: err}
	}
	if err != nil {
		return g, err
	}
	version, sumdb, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if strings.TrimSpace(sumdb) == "off" {
		return g, pai.Errorf(pai.CodeRefused, "go env -u GOSUMDB", "Go's checksum database is switched off")
	}
	g.version = version + " linux/" + runtime.GOARCH
	if cgo {
		cc, err := exec.CommandContext(ctx, "cc", "--version").Output()
		if err != nil {
			return g, &pai.Error{Code: pai.CodeFailed, Message: "building runc needs a C compiler", Next: "apt-get install gcc libc6-dev libseccomp-dev pkg-config", Err: err}
		}
		first, _, _ := strings.Cut(string(cc), "\n")
		g.version += " " + first
	}
	return g, nil
}

// buildEnv is environ without what would change a build or weaken its checks.
func buildEnv(environ []string, cgo bool) []string {
	dropped := []string{"GOFLAGS", "GOWORK", "GOEXPERIMENT", "GOOS", "GOARCH", "GOAMD64", "GOARM64", "GOTOOLCHAIN", "GO111MODULE", "GOFIPS140", "GODEBUG",
		"GONOSUMDB", "GONOSUMCHECK", "GOINSECURE", "GOPRIVATE", "CGO_ENABLED", "CGO_CFLAGS", "CGO_CPPFLAGS", "CGO_LDFLAGS", "CC", "SOURCE_DATE_EPOCH"}
	var env []string
next:
	for _, e := range environ {
		name, _, _ := strings.Cut(e, "=")
		for _, d := range dropped {
			if name == d {
				continue next
			}
		}
		env = append(env, e)
	}
	enabled := "0"
	if cgo {
		enabled = "1"
	}
	return append(env, "GOFLAGS=-mod=readonly", "GOWORK=off", "GOTOOLCHAIN=local", "GOOS=linux", "GOARCH="+runtime.GOARCH,
		"GOAMD64=v1", "CGO_ENABLED="+enabled, "LC_ALL=C")
}

// run runs one short go command and returns its standard output.
func (g goTool) run(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := g.command(ctx, dir, "go", args...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("go %s in %s: %w\n%s", args[0], dir, err, tail(errOut.String()))
	}
	return out.Bytes(), nil
}

func (g goTool) command(ctx context.Context, dir, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, g.env
	// The compilers that go starts end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// build compiles the component's programs into out, named as Go names them,
// and returns where each lies. compiled is called with the number of packages
// that had to be compiled so far.
func (g goTool) build(ctx context.Context, c component, out string, compiled func(int)) (map[string]string, error) {
	paths := sortedKeys(c.Programs)
	args := append([]string{"-n", "10", "go", "build", "-v"}, c.flags()...)
	files := map[string]string{}
	if len(paths) == 1 {
		files[paths[0]] = filepath.Join(out, path.Base(paths[0]))
		args = append(args, "-o", files[paths[0]], c.Programs[paths[0]])
	} else {
		args = append(args, "-o", out+"/")
		for _, p := range paths {
			files[p] = filepath.Join(out, programName(c.Programs[p]))
			args = append(args, c.Programs[p])
		}
	}
	cmd := g.command(ctx, c.dir, "nice", args...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, fmt.Errorf("build component %q: %w", c.Folder, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("build component %q: %w", c.Folder, err)
	}
	messages := countPackages(stderr, compiled)
	if err := cmd.Wait(); err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("build component %q: %w", c.Folder, ctx.Err())
		}
		return nil, &pai.Error{Code: pai.CodeFailed, Next: "cd " + c.Folder + " && go build tool, to see it again",
			Err: fmt.Errorf("build component %q: %w\n%s", c.Folder, err, tail(messages))}
	}
	return files, nil
}

// countPackages reads what go build -v prints: a line per package that is
// compiled, which are counted, and messages, which are returned.
func countPackages(r io.Reader, compiled func(int)) string {
	var messages strings.Builder
	n := 0
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if line := lines.Text(); strings.Contains(line, " ") {
			messages.WriteString(line + "\n")
		} else {
			n++
			compiled(n)
		}
	}
	if err := lines.Err(); err != nil {
		_, rest := io.Copy(io.Discard, r) // so that go build does not wait for a reader
		fmt.Fprintf(&messages, "reading the messages of go build: %v\n", errors.Join(err, rest))
	}
	return messages.String()
}

var majorRule = regexp.MustCompile(`^v[2-9][0-9]*$|^v1[0-9]+$`)

// programName is the name that Go gives a main package's program.
func programName(pkg string) string {
	if base := path.Base(pkg); !majorRule.MatchString(base) {
		return base
	}
	return path.Base(path.Dir(pkg))
}

// tail keeps the last lines of a long message.
func tail(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	if len(lines) > 20 {
		lines = append([]string{"…"}, lines[len(lines)-20:]...)
	}
	return strings.Join(lines, "\n")
}
