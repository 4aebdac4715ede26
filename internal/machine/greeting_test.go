package machine_test

import (
	"fmt"
	"net"
	"path/filepath"
	"testing"

	"pai.dev/pai/internal/machine"
)

func TestAnswers(t *testing.T) {
	t.Parallel()
	sshd := startSSHD(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	go func() {
		for {
			conn, err := silent.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("HTTP/1.1 400\r\n"))
			conn.Close()
		}
	}()
	to := sshd.endpoint
	to.SSHConfig = "none"
	other := to
	other.Port = silent.Addr().(*net.TCPAddr).Port
	if !machine.Answers(t.Context(), to) || machine.Answers(t.Context(), other) {
		t.Error("only sshd answers as ssh")
	}
	// Only the jump host reaches the machine.
	behind := to
	behind.Address = "192.0.2.7" // RFC 5737: this host has no route to it
	behind.SSHConfig = filepath.Join(t.TempDir(), "config")
	write(t, behind.SSHConfig, fmt.Sprintf(`Host 192.0.2.7
  ProxyCommand ssh -F %[1]s -o BatchMode=yes -W 127.0.0.1:%%p bastion
Host bastion
  HostName 127.0.0.1
  Port %[2]d
  User root
  IdentityFile %[3]s
  UserKnownHostsFile %[4]s
`, behind.SSHConfig, to.Port, to.KeyFile, to.KnownHosts))
	if !machine.Answers(t.Context(), behind) {
		t.Error("got no answer of sshd through the jump host")
	}
}
