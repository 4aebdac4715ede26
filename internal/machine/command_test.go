package machine_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pai.dev/pai/internal/machine"
)

func TestRun(t *testing.T) {
	t.Parallel()
	host := startSSHD(t).dial(t)
	tests := []struct {
		name, script, stdin string
		stdout, stderr      string
		code                int
	}{
		{name: "nothing"},
		{name: "both outputs", script: "echo out; echo err >&2", stdout: "out\n", stderr: "err\n"},
		{name: "input", script: "cat", stdin: "first\nsecond", stdout: "first\nsecond"},
		{name: "input that looks like the protocol", script: "cat", stdin: "0\n17\n", stdout: "0\n17\n"},
		{name: "no input", script: "cat; echo end", stdout: "end\n"},
		{name: "unread input", script: "echo done", stdin: strings.Repeat("x", 5<<20), stdout: "done\n"},
		{name: "part of the input", script: "head -c 3", stdin: strings.Repeat("x", 5<<20), stdout: "xxx"},
		{name: "code", script: "echo why >&2; exit 7", stderr: "why\n", code: 7},
		{name: "first failure ends it", script: "false\necho no", code: 1},
		{name: "unset variable", script: "echo $no_such_variable", code: 2, stderr: "sh: 1: eval: no_such_variable: parameter not set\n"},
		{name: "here-document and quotes", script: "cat <<'E'\n$a 'b' \"c\" \\\nE\nprintf '%s' \"it's\"", stdout: "$a 'b' \"c\" \\\nit's"},
		{name: "long script", script: "#" + strings.Repeat("x", 300<<10) + "\necho end", stdout: "end\n"},
		{name: "not in the list of processes", script: "grep -l -a hunter[2]x /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null || echo none # hunter2x", stdout: "none\n"},
		{name: "killed", script: "kill -KILL $$", code: 137},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := machine.Command{Script: tt.script}
			if tt.stdin != "" {
				c.Stdin = strings.NewReader(tt.stdin)
			}
			out, err := host.Run(t.Context(), c)
			if out.Stdout != tt.stdout || out.Stderr != tt.stderr {
				t.Errorf("got output %q and %q, want %q and %q", out.Stdout, out.Stderr, tt.stdout, tt.stderr)
			}
			code := 0
			failure := new(machine.CommandError)
			if errors.As(err, &failure) {
				code = failure.Code
			} else if err != nil {
				t.Fatal(err)
			}
			if code != tt.code {
				t.Errorf("got exit code %d, want %d (%v)", code, tt.code, err)
			}
		})
	}
}

// What a login shell, its files, or sshd print is not of the script.
func TestRunLeavesOutWhatALoginShellPrints(t *testing.T) {
	t.Parallel()
	host := startSSHDWith(t, "ForceCommand echo Welcome; echo 17; echo warning >&2; set -x; eval \"$SSH_ORIGINAL_COMMAND\"\n").dial(t)
	out, err := host.Run(t.Context(), machine.Command{Script: "cat; echo err >&2", Stdin: strings.NewReader("Welcome\n17\n")})
	if err != nil || out.Stdout != "Welcome\n17\n" || out.Stderr != "err\n" {
		t.Errorf("got %q and %q, %v", out.Stdout, out.Stderr, err)
	}
	var streamed strings.Builder
	if _, err = host.Run(t.Context(), machine.Command{Script: "seq 20000", Stdout: &streamed}); err != nil || !strings.HasPrefix(streamed.String(), "1\n2\n") {
		t.Errorf("got an output that begins with %.40q, %v", streamed.String(), err)
	}
	if data, err := host.ReadFile(t.Context(), "/proc/version"); err != nil || !strings.HasPrefix(string(data), "Linux version") {
		t.Errorf("got a file that begins with %.40q, %v", data, err)
	}
	_, err = host.Run(t.Context(), machine.Command{Script: "echo why >&2; exit 7"})
	failure := new(machine.CommandError)
	if !errors.As(err, &failure) || strings.Contains(failure.Output, "warning") || !strings.Contains(failure.Output, "why") {
		t.Errorf("got %v, want code 7 and its reason alone", err)
	}
}

// A login shell that runs nothing is an error with what it printed, whatever its
// exit code is.
func TestRunWithoutAShell(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"0", "1"} {
		host := startSSHDWith(t, "ForceCommand echo This account is not available.; exit "+code+"\n").dial(t)
		if out, err := host.Run(t.Context(), machine.Command{Script: "echo fine"}); err == nil || out.Stdout != "" || !strings.Contains(err.Error(), "This account is not available.") {
			t.Errorf("exit code %s: got %q, %v; want an error with what was printed", code, out.Stdout, err)
		}
	}
}

func TestRunKeepsLongOutputOutOfErrors(t *testing.T) {
	t.Parallel()
	host := startSSHD(t).dial(t)
	out, err := host.Run(t.Context(), machine.Command{Script: "seq 100000; echo the reason >&2; exit 3"})
	if err == nil || !strings.HasSuffix(err.Error(), "the reason") || len(err.Error()) > 5<<10 {
		t.Errorf("got error of %d bytes, want the reason at the end of a short one: %.200v", len(fmt.Sprint(err)), err)
	}
	if len(out.Stdout) < 100000 {
		t.Errorf("got %d bytes of output, want all", len(out.Stdout))
	}
}

func TestRunPassesInputOnAsItComes(t *testing.T) {
	t.Parallel()
	host := startSSHD(t).dial(t)
	in, feed := io.Pipe()
	lines, out := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := host.Run(t.Context(), machine.Command{Script: "while read -r line; do echo \"got $line\"; done", Stdin: in, Stdout: out})
		out.Close()
		done <- err
	}()
	for _, word := range []string{"a", "b", "c"} {
		fmt.Fprintln(feed, word)
		got := make([]byte, 6)
		if _, err := io.ReadFull(lines, got); err != nil || string(got) != "got "+word+"\n" {
			t.Fatalf("got answer %q (%v), want the word at once", got, err)
		}
	}
	feed.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestRunCarriesLargeInputWhole(t *testing.T) {
	t.Parallel()
	host := startSSHD(t).dial(t)
	data := make([]byte, 50<<20+123)
	rand.NewChaCha8([32]byte{1}).Read(data)
	out, err := host.Run(t.Context(), machine.Command{Script: "sha256sum", Stdin: bytes.NewReader(data)})
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("%x  -\n", sha256.Sum256(data)); out.Stdout != want {
		t.Errorf("got sum %s, want %s", out.Stdout, want)
	}
}

func TestRunKeepsSecretOutOfErrors(t *testing.T) {
	t.Parallel()
	sshd := startSSHD(t)
	host := sshd.dial(t)
	secret := machine.Command{Script: "# hunter2\necho hunter2; echo hunter2 >&2; exit 1", Secret: true}
	if _, err := host.Run(t.Context(), secret); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got the secret in error %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := host.Run(ctx, machine.Command{Script: "sleep 100 # hunter2", Secret: true}); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got the secret in the error of a killed command: %v", err)
	}
}

// All processes of a command have ended when the call returns.
func TestRunKillsProcesses(t *testing.T) {
	t.Parallel()
	script := "sleep 1000 & echo $!; sleep 1000 & echo $!; cat >/dev/null; wait"
	ends := map[string]func(t *testing.T, sshd *testSSHD, host machine.Host, cancel func()){
		"canceled":            func(_ *testing.T, _ *testSSHD, _ machine.Host, cancel func()) { cancel() },
		"closed":              func(_ *testing.T, _ *testSSHD, host machine.Host, _ func()) { host.Close() },
		"sshd process killed": func(t *testing.T, sshd *testSSHD, _ machine.Host, _ func()) { sshd.killConnections(t) },
	}
	for name, end := range ends {
		for _, withInput := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, input %v", name, withInput), func(t *testing.T) {
				t.Parallel()
				sshd := startSSHD(t)
				host := sshd.dial(t)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				c := machine.Command{Script: script}
				if withInput {
					in, feed := io.Pipe()
					defer feed.Close()
					c.Stdin = in
				}
				lines, out := io.Pipe()
				c.Stdout = out
				done := make(chan error, 1)
				go func() {
					_, err := host.Run(ctx, c)
					done <- err
				}()
				var pids [2]int
				if _, err := fmt.Fscan(lines, &pids[0], &pids[1]); err != nil {
					t.Fatal(err)
				}
				end(t, sshd, host, cancel)
				err := <-done
				if err == nil {
					t.Error("got no error, want one")
				}
				if ctx.Err() != nil != errors.Is(err, context.Canceled) {
					t.Errorf("got %v, want the error of the context", err)
				}
				for _, pid := range pids {
					waitFor(t, "process "+strconv.Itoa(pid)+" to be killed", func() bool { return !running(pid) })
				}
			})
		}
	}
}

// running reports whether a process runs and is no zombie.
func running(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	return !strings.HasPrefix(rest, "Z")
}

func (s *testSSHD) killConnections(t *testing.T) {
	t.Helper()
	for _, pid := range s.connections(t) {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Fatal(err)
		}
	}
}

// The scratch directory of a script is removed, however the script ends.
func TestRunRemovesScratch(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("needs root: the directory is in /run")
	}
	for name, script := range map[string]string{"ends": "true", "fails": "exit 1", "connection lost": "sleep 60"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sshd := startSSHD(t)
			host := sshd.dial(t)
			output, stdout := io.Pipe()
			ended := make(chan error, 1)
			go func() {
				_, err := host.Run(t.Context(), machine.Command{Script: "mkdir $SCRATCH; echo x >$SCRATCH/file; echo $SCRATCH\n" + script, Stdout: stdout})
				ended <- err
			}()
			line, err := bufio.NewReader(output).ReadString('\n')
			scratch := strings.TrimSpace(line)
			if err != nil || scratch == "" {
				t.Fatalf("got output %q (%v), want the directory", line, err)
			}
			if name == "connection lost" {
				sshd.killConnections(t)
			}
			if err := <-ended; (err == nil) != (name == "ends") {
				t.Errorf("got %v at the end of the script", err)
			}
			deadline := time.Now().Add(time.Minute)
			for _, err = os.Stat(scratch); err == nil && time.Now().Before(deadline); _, err = os.Stat(scratch) {
				time.Sleep(20 * time.Millisecond)
			}
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("got %s (%v), want it removed", scratch, err)
			}
		})
	}
}

// A scratch directory on disk goes with the link that names it.
func TestRunRemovesScratchOnDisk(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("needs root: the link is in /run")
	}
	sshd := startSSHD(t)
	host := sshd.dial(t)
	disk := t.TempDir() + "/scratch"
	said, saying := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		script := "ln -s " + machine.Quote(disk) + " $SCRATCH; mkdir " + machine.Quote(disk) + "; echo x >$SCRATCH/file; echo made; sleep 60"
		_, err := host.Run(t.Context(), machine.Command{Script: script, Stdout: saying})
		ended <- err
	}()
	if line, err := bufio.NewReader(said).ReadString('\n'); line != "made\n" {
		t.Fatalf("the script printed %q, %v", line, err)
	}
	sshd.killConnections(t)
	if err := <-ended; err == nil {
		t.Error("the script ended without an error")
	}
	_, err := os.Stat(disk)
	for deadline := time.Now().Add(time.Minute); err == nil && time.Now().Before(deadline); _, err = os.Stat(disk) {
		time.Sleep(20 * time.Millisecond)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s still exists: %v", disk, err)
	}
}

// A command must not treat a partial input as complete.
func TestRunKillsCommandWithBrokenInput(t *testing.T) {
	t.Parallel()
	host := startSSHD(t).dial(t)
	file := t.TempDir() + "/whole"
	broken := errors.New("disk on fire")
	in := io.MultiReader(strings.NewReader("half"), errReader{broken})
	_, err := host.Run(t.Context(), machine.Command{Script: "cat >/dev/null; touch " + machine.Quote(file), Stdin: in})
	if !errors.Is(err, broken) {
		t.Errorf("got %v, want the error of the input", err)
	}
	time.Sleep(200 * time.Millisecond)
	if _, err := os.Stat(file); err == nil {
		t.Error("got a command that ended with a partial input, want it killed")
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func TestRunManyAtATime(t *testing.T) {
	t.Parallel()
	host := startSSHD(t).dial(t)
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			out, err := host.Run(t.Context(), machine.Command{Script: "sleep 0.1; echo " + strconv.Itoa(i)})
			if err != nil || out.Stdout != strconv.Itoa(i)+"\n" {
				t.Errorf("command %d: got %q (%v), want its number", i, out.Stdout, err)
			}
		})
	}
	wg.Wait()
}

// A command that does not read its input is also killed.
func TestRunKillsWhileInputWaits(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*testSSHD, func()){
		"canceled":            func(_ *testSSHD, cancel func()) { cancel() },
		"sshd process killed": func(sshd *testSSHD, _ func()) { sshd.killConnections(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sshd := startSSHD(t)
			host := sshd.dial(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			lines, out := io.Pipe()
			done := make(chan error, 1)
			go func() {
				_, err := host.Run(ctx, machine.Command{
					Script: "echo $$; exec sleep 1000", Stdin: strings.NewReader(strings.Repeat("x", 20<<20)), Stdout: out})
				done <- err
			}()
			var pid int
			if _, err := fmt.Fscan(lines, &pid); err != nil {
				t.Fatal(err)
			}
			time.Sleep(200 * time.Millisecond) // until the input fills all buffers
			end(sshd, cancel)
			if err := <-done; err == nil {
				t.Error("got no error, want one")
			}
			waitFor(t, "the command to be killed", func() bool { return !running(pid) })
		})
	}
}

// A call that is canceled early does not affect others on the connection.
func TestRunCanceledWhileStarting(t *testing.T) {
	t.Parallel()
	host := startSSHD(t).dial(t)
	long := make(chan error, 1)
	go func() {
		_, err := host.Run(t.Context(), machine.Command{Script: "sleep 3"})
		long <- err
	}()
	for i := range 60 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*time.Millisecond/2)
		if _, err := host.Run(ctx, machine.Command{Script: "sleep 100"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v after %d ms/2, want the deadline", err, i)
		}
		cancel()
	}
	if err := <-long; err != nil {
		t.Errorf("got %v from another command, want none", err)
	}
}
