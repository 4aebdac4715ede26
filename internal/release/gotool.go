package release

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"pai.dev/pai/internal/pai"
)

// goTool runs the go command independently of the user's settings.
type goTool struct {
	env     []string
	version string // "go1.26.8 linux/amd64"
}

// newGoTool finds the go command. Modules are always verified: go.sum is never
// changed, and a checksum database that is off is an error.
func newGoTool(ctx context.Context, cgo bool) (goTool, error) {
	g := goTool{env: buildEnv(os.Environ(), cgo)}
	out, err := g.run(ctx, ".", "env", "GOVERSION", "GOSUMDB")
	if errors.Is(err, exec.ErrNotFound) {
		return g, &pai.Error{Code: pai.CodeFailed, Message: "a bundle build needs Go", Next: "install Go 1.26.8 or newer, and add it to PATH", Err: err}
	}
	if err != nil {
		return g, err
	}
	version, sumdb, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if strings.TrimSpace(sumdb) == "off" {
		return g, pai.Errorf(pai.CodeRefused, "run: go env -u GOSUMDB", "the checksum database of Go is off")
	}
	g.version = version + " linux/" + runtime.GOARCH
	if cgo {
		cc, err := exec.CommandContext(ctx, "cc", "--version").Output()
		if err != nil {
			return g, &pai.Error{Code: pai.CodeFailed, Message: "the build of runc needs a C compiler", Next: "run: apt-get install gcc libc6-dev libseccomp-dev pkg-config", Err: err}
		}
		first, _, _ := strings.Cut(string(cc), "\n")
		g.version += " " + first
	}
	return g, nil
}

// buildEnv is environ without variables that change a build or weaken its checks.
func buildEnv(environ []string, cgo bool) []string {
	dropped := []string{"GOFLAGS", "GOWORK", "GOEXPERIMENT", "GOOS", "GOARCH", "GOAMD64", "GOARM64", "GOTOOLCHAIN", "GO111MODULE", "GOFIPS140", "GODEBUG",
		"GONOSUMDB", "GONOSUMCHECK", "GOINSECURE", "GOPRIVATE", "CGO_ENABLED", "CGO_CFLAGS", "CGO_CPPFLAGS", "CGO_LDFLAGS", "CC", "SOURCE_DATE_EPOCH"}
	env := slices.DeleteFunc(slices.Clone(environ), func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		return slices.Contains(dropped, name)
	})
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
	// The compilers end with the go command.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// build compiles the component's programs into out and returns the file of
// each, by its path in the layer. compiled is called with the number of packages
// compiled so far.
func (g goTool) build(ctx context.Context, c component, out string, compiled func(int)) (map[string]string, error) {
	paths := slices.Sorted(maps.Keys(c.Programs))
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
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("build component %q: %w", c.Path, err)
	}
	messages := countPackages(stderr, compiled)
	if err := cmd.Wait(); err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("build component %q: %w", c.Path, ctx.Err())
		}
		return nil, &pai.Error{Code: pai.CodeFailed, Next: "to see the error again, run: cd " + c.Path + " && go build tool",
			Err: fmt.Errorf("build component %q: %w\n%s", c.Path, err, tail(messages))}
	}
	return files, nil
}

// countPackages reads the output of go build -v: it counts the lines that name a
// compiled package, and returns the messages.
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
		fmt.Fprintf(&messages, "read the output of go build: %v\n", errors.Join(err, rest))
	}
	return messages.String()
}

var majorRule = regexp.MustCompile(`^v[2-9][0-9]*$|^v1[0-9]+$`)

// programName is the name that Go gives to the program of a main package.
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
