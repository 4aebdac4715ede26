package job

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// run starts a task as its container does, in a new session, because the
// launcher signals its whole process group.
func run(t *testing.T, commands ...string) *exec.Cmd {
	t.Helper()
	return runRole(t, TaskRole{Commands: commands})
}

func runRole(t *testing.T, role TaskRole) *exec.Cmd {
	t.Helper()
	script := filepath.Join(t.TempDir(), scriptFile)
	if err := os.WriteFile(script, []byte(taskScript(role)), 0o444); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", launcher, "task", script)
	cmd.Dir = t.TempDir()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	return cmd
}

func exitCode(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	done := make(chan struct{})
	go func() { cmd.Wait(); close(done) }()
	select {
	case <-done:
		return cmd.ProcessState.ExitCode()
	case <-time.After(time.Minute):
		t.Fatal("the task does not end")
		return -1
	}
}

func waitFor(t *testing.T, file string) {
	t.Helper()
	for range 6000 { // a minute
		if _, err := os.Stat(file); err == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s does not appear", file)
}

func TestTaskExitCodeIsThatOfLastCommand(t *testing.T) {
	t.Parallel()
	for want, commands := range map[int][]string{
		0: {"false", "true"},
		1: {"true", "false"},
		7: {"x=7", `exit "$x"`, "touch never"},
	} {
		if got := exitCode(t, run(t, commands...)); got != want {
			t.Errorf("%q ends with %d, want %d", commands, got, want)
		}
	}
}

func TestStoppedTaskEndsItsCommandAndFails(t *testing.T) {
	t.Parallel()
	cmd := run(t,
		`sh -c 'trap "sleep 0.3; touch saved; exit 0" TERM; touch started; while :; do sleep 0.05; done'`,
		"touch next")
	waitFor(t, filepath.Join(cmd.Dir, "started"))
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := exitCode(t, cmd); got != 143 {
		t.Errorf("ends with %d, want 143", got)
	}
	if _, err := os.Stat(filepath.Join(cmd.Dir, "saved")); err != nil {
		t.Error("the command was not given the time to end by itself")
	}
	if _, err := os.Stat(filepath.Join(cmd.Dir, "next")); err == nil {
		t.Error("the next command was started")
	}
}

// Steps are separate scripts: what they change or end is not that of the commands,
// and one that fails ends the task.
func TestStepsRunBeforeAndAfterCommands(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		role TaskRole
		code int
		made string // files, in their order
	}{
		{"success", TaskRole{Before: []Step{{[]string{"touch a", "cd /"}, false}}, Commands: []string{"test -e a", "touch b", "exit 0"}, After: []Step{{[]string{"touch c"}, false}}}, 0, "a b c"},
		{"step before fails", TaskRole{Before: []Step{{[]string{"touch a", "(exit 3)", "touch x"}, false}}, Commands: []string{"touch b"}}, 3, "a"},
		{"step may fail", TaskRole{Before: []Step{{[]string{"(exit 3)", "touch a"}, true}}, Commands: []string{"touch b"}}, 0, "a b"},
		{"commands fail", TaskRole{Commands: []string{"touch b", "exit 4"}, After: []Step{{[]string{"touch c"}, false}}}, 4, "b"},
		{"step after fails", TaskRole{Commands: []string{"touch b"}, After: []Step{{[]string{"exit 5"}, false}}}, 5, "b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cmd := runRole(t, c.role)
			if code := exitCode(t, cmd); code != c.code {
				t.Errorf("ends with %d, want %d", code, c.code)
			}
			entries, err := os.ReadDir(cmd.Dir)
			if err != nil {
				t.Fatal(err)
			}
			var made []string
			for _, e := range entries {
				made = append(made, e.Name())
			}
			if got := strings.Join(made, " "); got != c.made {
				t.Errorf("made %s, want %s", got, c.made)
			}
		})
	}
}

// A program of a task with steps has the time to end, as one without.
func TestStoppedTaskWithStepsEndsItsCommand(t *testing.T) {
	t.Parallel()
	cmd := runRole(t, TaskRole{Before: []Step{{[]string{"true"}, false}}, After: []Step{{[]string{"touch after"}, false}}, Commands: []string{
		`sh -c 'trap "sleep 0.3; touch saved; exit 0" TERM; touch started; while :; do sleep 0.05; done'`, "touch next"}})
	waitFor(t, filepath.Join(cmd.Dir, "started"))
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := exitCode(t, cmd); got != 143 {
		t.Errorf("ends with %d, want 143", got)
	}
	if _, err := os.Stat(filepath.Join(cmd.Dir, "saved")); err != nil {
		t.Error("the command was not given the time to end by itself")
	}
	for _, name := range []string{"next", "after"} {
		if _, err := os.Stat(filepath.Join(cmd.Dir, name)); err == nil {
			t.Errorf("%s was started", name)
		}
	}
}

// A task that is stopped while it waits for others ends at once.
func TestStoppedTaskEndsBeforeItsCommands(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"script": "touch next", "environment": "touch started; sleep 1; sleep 60"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("/bin/sh", "-c", launcher, "task", filepath.Join(dir, "script"), filepath.Join(dir, "environment"))
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	waitFor(t, filepath.Join(dir, "started"))
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := exitCode(t, cmd); got != 143 {
		t.Errorf("ends with %d, want 143", got)
	}
	if _, err := os.Stat(filepath.Join(dir, "next")); err == nil {
		t.Error("the commands were started")
	}
}
