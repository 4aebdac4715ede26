package machine

import (
	"net"
	"strconv"
	"time"

	"golang.org/x/crypto/ssh"
)

// Endpoint says how a machine is reached.
type Endpoint struct {
	Name       string // the machine's name in the configuration
	Address    string // the address that other machines reach it at, too
	Port       int    // 22 when zero
	User       string // root when empty; another user needs sudo without a password
	KeyFile    string // private key; the keys of a running ssh-agent when empty
	Password   string // tried where there is no key file; empty: not
	KnownHosts string // the file that the machine's host key is checked against
}

func (t Endpoint) withDefaults() Endpoint {
	if t.Port == 0 {
		t.Port = 22
	}
	if t.User == "" {
		t.User = "root"
	}
	if t.Name == "" {
		t.Name = t.Address
	}
	return t
}

func (t Endpoint) HostPort() string { return net.JoinHostPort(t.Address, strconv.Itoa(t.Port)) }

const (
	// connectTimeout bounds reaching a machine: TCP, keys and log-in together.
	connectTimeout = 30 * time.Second
	// keepaliveEvery and keepaliveTimeout decide how long a machine may be
	// silent before its connection counts as lost.
	keepaliveEvery   = 5 * time.Second
	keepaliveTimeout = 30 * time.Second
	// maxSessions is how many commands run on one connection at a time. sshd
	// allows 10 (MaxSessions in sshd_config(5)).
	maxSessions = 8
)

// ciphers are in the order of their speed on processors with AES instructions.
func ciphers() []string {
	return []string{
		ssh.CipherAES128GCM, ssh.CipherAES256GCM, ssh.CipherChaCha20Poly1305,
		ssh.CipherAES128CTR, ssh.CipherAES256CTR,
	}
}
