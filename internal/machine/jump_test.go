package machine_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pai.dev/pai/internal/machine"
)

// operatorConfig writes an ssh configuration of the operator.
func operatorConfig(t *testing.T, format string, args ...any) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config")
	write(t, file, fmt.Sprintf(format, args...))
	return file
}

// The bastion forwards; nothing else of it is used.
func TestDialThroughTheJumpHostOfTheOperator(t *testing.T) {
	t.Parallel()
	bastion, inside := startSSHD(t), startSSHDWith(t, "AllowTcpForwarding no\n")
	config := operatorConfig(t, `Host 127.0.0.1
  ProxyJump bastion
Host bastion
  HostName 127.0.0.1
  Port %d
  User root
  ProxyJump none
  IdentityFile %s
  UserKnownHostsFile %s
`, bastion.endpoint.Port, bastion.endpoint.KeyFile, bastion.endpoint.KnownHosts)
	to := inside.endpoint
	to.SSHConfig = config
	h, err := machine.Dial(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	out, err := h.Run(t.Context(), machine.Command{Script: "echo inside"})
	if err != nil || out.Stdout != "inside\n" {
		t.Errorf("got %q, %v", out.Stdout, err)
	}
	if len(bastion.connections(t)) == 0 {
		t.Error("the bastion has no connection")
	}
	to.SSHConfig = operatorConfig(t, "Host *\n  ProxyCommand echo no such bastion >&2; exit 1\n")
	if _, err := machine.Dial(t.Context(), to); err == nil || !strings.Contains(err.Error(), "through sh -c exec echo no such bastion") {
		t.Errorf("got %v, want the words of the program", err)
	}
	to.SSHConfig = operatorConfig(t, "Nonsense yes\n")
	if _, err := machine.Dial(t.Context(), to); err == nil || !strings.Contains(err.Error(), "ssh configuration") {
		t.Errorf("got %v, want a mistake in the configuration", err)
	}
}

func TestHostKeysAndKeysOfTheOperator(t *testing.T) {
	t.Parallel()
	sshd := startSSHD(t)
	to := sshd.endpoint
	own := to.KnownHosts
	to.KnownHosts = filepath.Join(t.TempDir(), "known_hosts")
	to.SSHConfig = operatorConfig(t, "UserKnownHostsFile /nothing\nGlobalKnownHostsFile /nothing\n")
	if keys, err := machine.KnownHostKeys(t.Context(), to); err != nil || len(keys) != 0 {
		t.Errorf("got %v, %v, want no known key", keys, err)
	}
	if _, err := machine.Dial(t.Context(), to); !errors.Is(err, machine.ErrUnknownHostKey) {
		t.Errorf("got %v, want an unknown host key", err)
	}
	presented, err := machine.PresentedHostKey(t.Context(), to)
	if err != nil || !strings.HasPrefix(presented.Fingerprint, "SHA256:") || presented.Type != "ssh-ed25519" {
		t.Fatalf("got %+v, %v", presented, err)
	}
	file, err := os.ReadFile(own)
	if err != nil || strings.TrimSpace(string(file)) != presented.Line {
		t.Errorf("got the line %s, want %s, %v", presented.Line, file, err)
	}
	to.SSHConfig = operatorConfig(t, "UserKnownHostsFile %s\nIdentityFile %s\nIdentityAgent /nothing\n", own, to.KeyFile)
	to.KeyFile = ""
	keys, err := machine.KnownHostKeys(t.Context(), to)
	if err != nil || len(keys) != 1 || keys[0] != presented {
		t.Errorf("got %v, %v, want the key of the operator", keys, err)
	}
	h, err := machine.Dial(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	h.Close()
	// The key of the cluster comes first, also when the operator knows another one.
	other := startSSHD(t)
	line, err := os.ReadFile(other.endpoint.KnownHosts)
	if err != nil {
		t.Fatal(err)
	}
	_, key, _ := strings.Cut(string(line), " ")
	write(t, to.KnownHosts, fmt.Sprintf("[127.0.0.1]:%d %s", to.Port, key))
	if _, err := machine.Dial(t.Context(), to); err == nil || !strings.Contains(err.Error(), "has changed") {
		t.Errorf("got %v, want a changed key", err)
	}
}
