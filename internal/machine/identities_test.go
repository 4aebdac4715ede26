package machine_test

import (
	"context"
	"crypto/rand"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"pai.dev/pai/internal/machine"
)

// startAgent starts an ssh-agent with the keys in files.
func startAgent(t *testing.T, files ...string) (socket string) {
	t.Helper()
	keys := agent.NewKeyring()
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		key, err := ssh.ParseRawPrivateKey(data)
		if err == nil {
			err = keys.Add(agent.AddedKey{PrivateKey: key})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	// The path of a socket is short.
	dir, err := os.MkdirTemp("", "agent")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	listener, err := new(net.ListenConfig).Listen(t.Context(), "unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { _ = agent.ServeAgent(keys, conn); conn.Close() }()
		}
	}()
	return listener.Addr().String()
}

// dialed is the error of a connection with a configuration of the operator.
func dialed(ctx context.Context, t *testing.T, to machine.Endpoint, format string, args ...any) error {
	t.Helper()
	to.KeyFile = ""
	to.SSHConfig = operatorConfig(t, format, args...)
	h, err := machine.Dial(ctx, to)
	if err == nil {
		h.Close()
	}
	return err
}

// An agent with more keys than sshd accepts (MaxAuthTries) is why IdentitiesOnly is set.
func TestIdentitiesOnly(t *testing.T) {
	t.Parallel()
	sshd := startSSHDWith(t, "MaxAuthTries 2\n")
	dir := t.TempDir()
	var others []string
	for _, name := range []string{"a", "b", "c"} {
		writeKey(t, filepath.Join(dir, name))
		others = append(others, filepath.Join(dir, name))
	}
	own := sshd.endpoint.KeyFile
	many, all := startAgent(t, others...), startAgent(t, append(others, own)...)
	if err := dialed(t.Context(), t, sshd.endpoint, "IdentityFile %s\nIdentityAgent %s\n", own, many); err == nil {
		t.Error("got no error with three keys of the agent before the right one")
	}
	if err := dialed(t.Context(), t, sshd.endpoint, "IdentityFile %s\nIdentityAgent %s\nIdentitiesOnly yes\n", own, many); err != nil {
		t.Errorf("got %v with IdentitiesOnly", err)
	}
	// Without the private part, the agent signs with the key that the file names. It comes
	// first also without IdentitiesOnly.
	signer := readSigner(t, own)
	public := filepath.Join(dir, "own.pub")
	write(t, public, string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
	for _, only := range []string{"yes", "no"} {
		for _, file := range []string{public, strings.TrimSuffix(public, ".pub")} {
			if err := dialed(t.Context(), t, sshd.endpoint, "IdentityFile %s\nIdentityAgent %s\nIdentitiesOnly %s\n", file, all, only); err != nil {
				t.Errorf("got %v for the public key %s, IdentitiesOnly %s", err, file, only)
			}
		}
	}
	err := dialed(t.Context(), t, sshd.endpoint, "IdentityFile %s\nIdentityAgent %s\nIdentitiesOnly yes\n", others[0], startAgent(t, own))
	if err == nil {
		t.Error("a key of the agent was used that the configuration does not name")
	}
	err = dialed(t.Context(), t, sshd.endpoint, "IdentityFile /nothing\nIdentityAgent %s\nIdentitiesOnly yes\n", all)
	if err == nil || !strings.Contains(err.Error(), "no ssh key for machine") {
		t.Errorf("got %v without a key that can be used", err)
	}
}

// sshd trusts an authority, and knows no key of the user.
func TestCertificateFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeKey(t, filepath.Join(dir, "authority"))
	authority := readSigner(t, filepath.Join(dir, "authority"))
	trusted := filepath.Join(dir, "trusted")
	write(t, trusted, string(ssh.MarshalAuthorizedKey(authority.PublicKey())))
	sshd := startSSHDWith(t, "TrustedUserCAKeys "+trusted+"\n")
	key := filepath.Join(dir, "id")
	public := writeKey(t, key)
	certificate := &ssh.Certificate{Key: public, CertType: ssh.UserCert, ValidPrincipals: []string{"root"}, ValidBefore: ssh.CertTimeInfinity}
	if err := certificate.SignCert(rand.Reader, authority); err != nil {
		t.Fatal(err)
	}
	line := string(ssh.MarshalAuthorizedKey(certificate))
	if err := dialed(t.Context(), t, sshd.endpoint, "IdentityFile %s\nIdentityAgent none\n", key); err == nil {
		t.Fatal("got no error without the certificate")
	}
	explicit := filepath.Join(dir, "elsewhere.pub")
	write(t, explicit, line)
	if err := dialed(t.Context(), t, sshd.endpoint, "IdentityFile %s\nCertificateFile %s\nIdentityAgent none\n", key, explicit); err != nil {
		t.Errorf("got %v with CertificateFile", err)
	}
	if err := dialed(t.Context(), t, sshd.endpoint, "IdentityFile /nothing\nCertificateFile %s\nIdentityAgent %s\n", explicit, startAgent(t, key)); err != nil {
		t.Errorf("got %v with CertificateFile and a key of the agent", err)
	}
	write(t, key+"-cert.pub", line)
	if err := dialed(t.Context(), t, sshd.endpoint, "IdentityFile %s\nIdentityAgent none\n", key); err != nil {
		t.Errorf("got %v with the certificate beside the key", err)
	}
}

func readSigner(t *testing.T, file string) ssh.Signer {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.ParsePrivateKey(data)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// The key is right, and its file must not be blamed. A wrong key still is.
func TestSecondFactorAfterAKeyIsNamed(t *testing.T) {
	t.Parallel()
	for _, methods := range []string{"publickey,keyboard-interactive", "publickey,password"} {
		sshd := startSSHDWith(t, "PasswordAuthentication yes\nKbdInteractiveAuthentication yes\nAuthenticationMethods "+methods+"\n")
		check := func(err error) {
			t.Helper()
			if err == nil || !strings.Contains(err.Error(), "accepts the key, and asks for a second factor, which PAI cannot answer") || strings.Contains(err.Error(), "no supported methods") {
				t.Errorf("%s: got %v", methods, err)
			}
		}
		_, err := machine.Dial(t.Context(), sshd.endpoint)
		check(err)
		check(dialed(t.Context(), t, sshd.endpoint, "IdentityFile %s\nIdentityAgent none\n", sshd.endpoint.KeyFile))
		check(dialed(t.Context(), t, sshd.endpoint, "IdentityFile /nothing\nIdentityAgent %s\n", startAgent(t, sshd.endpoint.KeyFile)))
		wrong := sshd.endpoint
		wrong.KeyFile = filepath.Join(t.TempDir(), "wrong")
		writeKey(t, wrong.KeyFile)
		if _, err := machine.Dial(t.Context(), wrong); err == nil || strings.Contains(err.Error(), "second factor") || !strings.Contains(err.Error(), "unable to authenticate") {
			t.Errorf("%s: got %v for a wrong key", methods, err)
		}
	}
}
