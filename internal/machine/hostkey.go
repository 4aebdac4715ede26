package machine

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"net"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"pai.dev/pai/internal/pai"
)

// hostKeys returns the check of the host key, and the key algorithms that the
// known hosts file has for the machine. With another algorithm, the machine would
// present a key that is not in the file.
func hostKeys(t Endpoint) (ssh.HostKeyCallback, []string, error) {
	check, err := knownhosts.New(t.KnownHosts)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, unknownHost(t)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read the known hosts file %s: %w", t.KnownHosts, err)
	}
	known, err := knownKeys(check, t)
	if err != nil {
		return nil, nil, err
	}
	if len(known) == 0 {
		return nil, nil, unknownHost(t)
	}
	var algorithms []string
	for _, k := range known {
		switch name := k.Key.Type(); name {
		case ssh.KeyAlgoRSA: // one key, several signature algorithms
			algorithms = append(algorithms, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
		default:
			algorithms = append(algorithms, name)
		}
	}
	return func(hostname string, remote net.Addr, key ssh.PublicKey) error {
		err := check(hostname, remote, key)
		var mismatch *knownhosts.KeyError
		if errors.As(err, &mismatch) {
			return changedKey(t, mismatch.Want, key)
		}
		if err != nil {
			return fmt.Errorf("check the host key of machine %q: %w", t.Name, err)
		}
		return nil
	}, algorithms, nil
}

// knownKeys returns the keys of the endpoint in the file. The error of the check
// lists them for a key that no host has.
func knownKeys(check ssh.HostKeyCallback, t Endpoint) ([]knownhosts.KnownKey, error) {
	unused, err := ssh.NewPublicKey(ed25519.PublicKey(make([]byte, ed25519.PublicKeySize)))
	if err != nil {
		return nil, fmt.Errorf("create a key for the lookup of known hosts: %w", err)
	}
	err = check(t.HostPort(), &net.TCPAddr{}, unused)
	var mismatch *knownhosts.KeyError
	if errors.As(err, &mismatch) {
		return mismatch.Want, nil
	}
	return nil, fmt.Errorf("look up machine %q in %s: %w", t.Name, t.KnownHosts, err)
}

func unknownHost(t Endpoint) error {
	return pai.Errorf(pai.CodeFailed,
		fmt.Sprintf("add the key; run: ssh-keyscan -p %d %s >> %s\nthen compare its fingerprint (ssh-keygen -lf %s) with the fingerprint on the console of the machine (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub)",
			t.Port, t.Address, t.KnownHosts, t.KnownHosts),
		"the host key of machine %q (%s) is not in %s", t.Name, t.HostPort(), t.KnownHosts)
}

func changedKey(t Endpoint, want []knownhosts.KnownKey, got ssh.PublicKey) error {
	line := 0
	if len(want) > 0 {
		line = want[0].Line
	}
	return pai.Errorf(pai.CodeFailed,
		fmt.Sprintf("if the machine was reinstalled, replace line %d of %s with its new key; otherwise stop: another host responds at its address", line, t.KnownHosts),
		"the host key of machine %q (%s) has changed to %s %s", t.Name, t.HostPort(), got.Type(), ssh.FingerprintSHA256(got))
}
