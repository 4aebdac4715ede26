package job

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// run starts a task as its container does, in a new session, because the
// launcher signals its whole process group.
func run(t *testing.T, commands ...string) *exec.Cmd {
	t.Helper()
	script := filepath.Join(t.TempDir(), scriptFile)
	if err := os.WriteFile(script, []byte(taskScript(commands)), 0o444); err != nil {
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
	case <-time.After(20 * time.Second):
		t.Fatal("the task does not end")
		return -1
	}
}

func waitFor(t *testing.T, file string) {
	t.Helper()
	for range 1000 {
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
