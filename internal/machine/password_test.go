package machine

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// Old configurations have passwords. Only the right one is accepted, and no error
// contains it.
func TestConnectWithPassword(t *testing.T) {
	t.Parallel()
	const right = "correct horse"
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	server := &ssh.ServerConfig{PasswordCallback: func(c ssh.ConnMetadata, password []byte) (*ssh.Permissions, error) {
		if c.User() == "admin" && string(password) == right {
			return nil, nil
		}
		return nil, errors.New("no")
	}}
	server.AddHostKey(signer)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
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
			go func() { _, _, _, _ = ssh.NewServerConn(conn, server) }()
		}
	}()
	port := listener.Addr().(*net.TCPAddr).Port
	known := filepath.Join(t.TempDir(), "known_hosts")
	line := knownhosts.Line([]string{listener.Addr().String()}, signer.PublicKey())
	if err := os.WriteFile(known, []byte(line+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for password, accepted := range map[string]bool{right: true, "battery staple": false} {
		client, err := connect(context.Background(), Endpoint{Name: "m", Address: "127.0.0.1", Port: port, User: "admin", Password: password, KnownHosts: known})
		if (err == nil) != accepted {
			t.Errorf("%q: got %v, want accepted %v", password, err, accepted)
		}
		if err == nil {
			client.Close()
		} else if strings.Contains(err.Error(), password) {
			t.Errorf("got the password in error %v", err)
		}
	}
}
