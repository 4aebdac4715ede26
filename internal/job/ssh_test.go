package job

import (
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// Two tasks with the ssh server of this host log in to one another, and their barrier
// waits until both can.
func TestTasksLogInToOneAnother(t *testing.T) {
	t.Parallel()
	client, err := exec.LookPath("ssh")
	if _, statErr := os.Stat("/usr/sbin/sshd"); err != nil || statErr != nil {
		t.Skip("this host has no ssh client or server")
	}
	spec := parsed(t, strings.Replace(twoRoles, "instances: 2", "instances: 1", 1)+
		"extras:\n  com.microsoft.pai.runtimeplugin:\n    - {plugin: ssh, parameters: {jobssh: true, sshbarrier: true, sshbarrierTimeout: 1}}\n")
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	authorized, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	spec.SSHKey = KeyPair{string(pem.EncodeToMemory(block)), string(ssh.MarshalAuthorizedKey(authorized))}
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	start := func(role string) (*exec.Cmd, *strings.Builder) {
		dir := t.TempDir()
		key := filepath.Join(dir, keySSH)
		text := strings.ReplaceAll(spec.addresses("alice-train-x"), secretDir+"/"+keySSH, key)
		for name, content := range map[string]string{
			keySSH: spec.SSHKey.Private, environmentFile: strings.Replace(text, "pai_left='600'", "pai_left='0'", 1),
			// The names of tasks exist in a cluster only, and ssh reads the files of the account.
			"ssh": "#!/bin/sh\nexec " + client + " -F \"$HOME/.ssh/config\" -o HostName=127.0.0.1 \"$@\"\n",
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.CommandContext(ctx, "sh", "-c", `. "$0"; ssh worker-0 'echo from $0'; ssh ps_1-0 true && echo logged in`, filepath.Join(dir, environmentFile))
		cmd.Env = []string{"PATH=" + dir + ":" + os.Getenv("PATH"), "HOME=" + dir, "PAI_CURRENT_TASK_ROLE_NAME=" + role, "PAI_CURRENT_TASK_ROLE_CURRENT_TASK_INDEX=0", "PAI_USER_NAME=alice", "PAI_JOB_NAME=train"}
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			data, err := os.ReadFile(filepath.Join(dir, ".ssh/pai_sshd.pid"))
			if errors.Is(err, fs.ErrNotExist) {
				return
			}
			pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
			if err != nil || pid < 2 {
				t.Errorf("read the process of the ssh server: %v", err)
				return
			}
			_ = syscall.Kill(pid, syscall.SIGTERM)
		})
		return cmd, &out
	}
	first, firstOut := start("worker")
	second, secondOut := start("ps_1")
	if err := errors.Join(first.Wait(), second.Wait()); err != nil {
		t.Fatalf("%v\n%s\n%s", err, firstOut, secondOut)
	}
	for _, out := range []*strings.Builder{firstOut, secondOut} {
		if !strings.Contains(out.String(), "logged in") {
			t.Errorf("got %s", out)
		}
	}
}

// A task whose image has no ssh server continues, and fails if others wait for it.
func TestTaskWithoutSSHServer(t *testing.T) {
	t.Parallel()
	for barrier, want := range map[string]int{"false": 0, "true": 10} {
		spec := parsed(t, good+"extras:\n  com.microsoft.pai.runtimeplugin:\n    - {plugin: ssh, parameters: {jobssh: true, sshbarrier: "+barrier+"}}\n")
		dir := t.TempDir()
		key := filepath.Join(dir, keySSH)
		text := strings.NewReplacer(secretDir+"/"+keySSH, key, "/usr/sbin/sshd", "/nonexistent/sshd").Replace(spec.addresses("alice-train-x"))
		for name, content := range map[string]string{keySSH: "key", environmentFile: text} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command("/bin/sh", "-c", `. "$0"`, filepath.Join(dir, environmentFile))
		cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + dir, "PAI_CURRENT_TASK_ROLE_NAME=worker", "PAI_CURRENT_TASK_ROLE_CURRENT_TASK_INDEX=0"}
		out, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != want || !strings.Contains(string(out), "the image has no ssh server (sshd)") {
			t.Errorf("barrier %s: got %d, want %d: %s", barrier, cmd.ProcessState.ExitCode(), want, out)
		}
	}
}
