package machine_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"pai.dev/pai/internal/machine"
	"pai.dev/pai/test/freeport"
)

const sshdProgram = "/usr/sbin/sshd"

// testSSHD is a real sshd on a loopback port.
type testSSHD struct {
	endpoint machine.Endpoint
	process  *os.Process
}

// startSSHD starts an sshd that accepts the user of the test with a new key, and
// writes its host key to a known_hosts file.
func startSSHD(t testing.TB) *testSSHD {
	t.Helper()
	return startSSHDWith(t, "")
}

// startSSHDWith puts lines first in the configuration of sshd.
func startSSHDWith(t testing.TB, lines string) *testSSHD {
	t.Helper()
	if _, err := os.Stat(sshdProgram); err != nil {
		t.Fatalf("%s is missing: install the Debian package openssh-server", sshdProgram)
	}
	if os.Getuid() != 0 {
		t.Fatal("this test runs sshd and needs root")
	}
	// The directory for the unprivileged child of sshd. The service of Debian
	// creates it at boot.
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	// The shell of a session reads no start-up files of the user who runs the test:
	// they take seconds on some machines.
	home := filepath.Join(dir, "home")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	port := freeport.Get(t)
	hostKey := writeKey(t, filepath.Join(dir, "host_key"))
	userKey := writeKey(t, filepath.Join(dir, "user_key"))
	write(t, filepath.Join(dir, "authorized_keys"), string(ssh.MarshalAuthorizedKey(userKey)))
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	write(t, filepath.Join(dir, "known_hosts"), knownhosts.Line([]string{knownhosts.Normalize(address)}, hostKey)+"\n")
	write(t, filepath.Join(dir, "sshd_config"), lines+fmt.Sprintf(`ListenAddress %s
HostKey %[2]s/host_key
AuthorizedKeysFile %[2]s/authorized_keys
PidFile none
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
MaxStartups 100
SetEnv HOME=%s
`, address, dir, home)) // the first value wins, so that of lines

	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(sshdProgram, "-D", "-e", "-f", filepath.Join(dir, "sshd_config"))
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			data, _ := os.ReadFile(log.Name())
			t.Logf("log of sshd:\n%s", data)
		}
	})
	waitFor(t, "sshd to listen", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return &testSSHD{process: cmd.Process, endpoint: machine.Endpoint{
		Name: "m1", Address: "127.0.0.1", Port: port,
		KeyFile: filepath.Join(dir, "user_key"), KnownHosts: filepath.Join(dir, "known_hosts"),
	}}
}

func (s *testSSHD) dial(t testing.TB) machine.Host {
	t.Helper()
	h, err := machine.Dial(t.Context(), s.endpoint)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// connections are the processes of sshd for its connections.
func (s *testSSHD) connections(t *testing.T) []int {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", s.process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, field := range strings.Fields(string(data)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

func writeKey(t testing.TB, path string) ssh.PublicKey {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, string(pem.EncodeToMemory(block)))
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func waitFor(t testing.TB, what string, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for !condition() {
		select {
		case <-ctx.Done():
			t.Fatalf("timed out waiting for %s", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
