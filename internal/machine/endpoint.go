package machine

import (
	"context"
	"net"
	"strconv"
	"time"

	"golang.org/x/crypto/ssh"
)

// Endpoint is where a machine is reached over ssh, and how to log in.
type Endpoint struct {
	Name       string // of the machine in the configuration
	Address    string // also for the other machines
	Port       int    // 22 if zero
	User       string // root if empty; other users need sudo without a password
	KeyFile    string // private key; the keys of the ssh-agent if empty
	Password   string // used if there is no key file
	KnownHosts string // file with the host key of the machine
	// SSHConfig is the configuration file of ssh, or "none"; that of the operator if
	// empty. It gives jump hosts, agents, keys, and further known hosts.
	SSHConfig string

	operator operatorSSH // set by resolved
}

// resolved adds the defaults and what the ssh of the operator would use.
func (t Endpoint) resolved(ctx context.Context) (Endpoint, error) {
	t = t.withDefaults()
	var err error
	t.operator, err = readOperatorSSH(ctx, t)
	return t, err
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
	// connectTimeout limits TCP, key exchange, and login together.
	connectTimeout = 30 * time.Second
	// keepaliveEvery and keepaliveTimeout limit how long a machine is silent
	// before its connection counts as lost.
	keepaliveEvery   = 5 * time.Second
	keepaliveTimeout = 30 * time.Second
	// maxSessions is the number of parallel commands on a connection. sshd allows
	// 10 (MaxSessions in sshd_config(5)).
	maxSessions = 8
)

// ciphers are sorted by speed on processors with AES instructions.
func ciphers() []string {
	return []string{
		ssh.CipherAES128GCM, ssh.CipherAES256GCM, ssh.CipherChaCha20Poly1305,
		ssh.CipherAES128CTR, ssh.CipherAES256CTR,
	}
}
