package machine

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"slices"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"

	"pai.dev/pai/internal/pai"
)

// hostKeys returns the check of the host key, and the key algorithms that the
// known hosts file has for the machine. With another algorithm, the machine would
// present a key that is not in the file.
func hostKeys(t Endpoint) (ssh.HostKeyCallback, []string, error) {
	known, err := knownhosts.NewDB(t.KnownHosts)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, unknownHost(t)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read the known hosts file %s: %w", t.KnownHosts, err)
	}
	algorithms := known.HostKeyAlgorithms(t.HostPort())
	if len(algorithms) == 0 {
		return nil, nil, unknownHost(t)
	}
	algorithms = slices.DeleteFunc(algorithms, func(name string) bool { return name == ssh.KeyAlgoRSA }) // signs with SHA-1
	check := known.HostKeyCallback()
	return func(hostname string, remote net.Addr, key ssh.PublicKey) error {
		err := check(hostname, remote, key)
		if knownhosts.IsHostKeyChanged(err) {
			return changedKey(t, err, key)
		}
		if err != nil {
			return fmt.Errorf("check the host key of machine %q: %w", t.Name, err)
		}
		return nil
	}, algorithms, nil
}

func unknownHost(t Endpoint) error {
	return pai.Errorf(pai.CodeFailed,
		fmt.Sprintf("add the key; run: ssh-keyscan -p %d %s >> %s\nthen compare its fingerprint (ssh-keygen -lf %s) with the fingerprint on the console of the machine (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub)",
			t.Port, t.Address, t.KnownHosts, t.KnownHosts),
		"the host key of machine %q (%s) is not in %s", t.Name, t.HostPort(), t.KnownHosts)
}

func changedKey(t Endpoint, err error, got ssh.PublicKey) error {
	line := 0
	if mismatch := new(xknownhosts.KeyError); errors.As(err, &mismatch) && len(mismatch.Want) > 0 {
		line = mismatch.Want[0].Line
	}
	return pai.Errorf(pai.CodeFailed,
		fmt.Sprintf("if the machine was reinstalled, replace line %d of %s with its new key; otherwise stop: another host responds at its address", line, t.KnownHosts),
		"the host key of machine %q (%s) has changed to %s %s", t.Name, t.HostPort(), got.Type(), ssh.FingerprintSHA256(got))
}
