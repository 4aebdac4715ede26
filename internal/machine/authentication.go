package machine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"pai.dev/pai/internal/pai"
)

// login is how to log in to a machine.
type login struct {
	methods []ssh.AuthMethod
	keys    *usedKeys // nil for a password
	done    func()    // is called after connecting
}

// authentication uses the key or the password of the endpoint; without them, the
// agent and the keys that the ssh of the operator would use.
func authentication(ctx context.Context, t Endpoint) (login, error) {
	if t.KeyFile == "" && t.Password != "" {
		return login{methods: []ssh.AuthMethod{ssh.Password(t.Password), ssh.KeyboardInteractive(t.answerPassword)}, done: func() {}}, nil
	}
	if t.KeyFile == "" {
		return operatorAuthentication(ctx, t)
	}
	signer, err := readKey(t)
	if err != nil {
		return login{}, err
	}
	return withKeys([]ssh.Signer{signer}, func() {}), nil
}

func withKeys(signers []ssh.Signer, done func()) login {
	keys := &usedKeys{}
	return login{methods: []ssh.AuthMethod{ssh.PublicKeys(keys.note(signers)...)}, keys: keys, done: done}
}

// explain names a second factor. Go's ssh only says that no method remains, as if the key
// were wrong; but a machine that lets a key sign knows it.
func (l login) explain(t Endpoint, err error) error {
	if err == nil || l.keys == nil || !l.keys.signed.Load() || !strings.Contains(err.Error(), "ssh: unable to authenticate") {
		return err
	}
	return secondFactor(t, "accepts the key, and asks for a second factor")
}

// secondFactor is the error for a machine whose sshd asks for what PAI does not have.
func secondFactor(t Endpoint, does string) error {
	return pai.Errorf(pai.CodeFailed, "let "+t.User+" log in with a key or a password alone, for example from the address of this host (Match Address in sshd_config)",
		"the sshd of machine %q %s, which PAI cannot answer", t.Name, does)
}

// readKey reads the key file of the endpoint.
func readKey(t Endpoint) (ssh.Signer, error) {
	data, err := os.ReadFile(t.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("read the ssh key for machine %q: %w", t.Name, err)
	}
	signer, err := ssh.ParsePrivateKey(data)
	if errors.As(err, new(*ssh.PassphraseMissingError)) {
		return nil, pai.Errorf(pai.CodeFailed, "remove the key file from the configuration and add the key to your ssh-agent; run: ssh-add "+t.KeyFile,
			"the ssh key %s for machine %q has a passphrase", t.KeyFile, t.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("read the ssh key %s for machine %q: %w", t.KeyFile, t.Name, err)
	}
	return signer, nil
}

// answerPassword answers the one question for a password that sshd asks through
// PAM. Other questions are of a second factor.
func (t Endpoint) answerPassword(_, _ string, questions []string, echos []bool) ([]string, error) {
	if len(questions) == 0 {
		return nil, nil
	}
	if len(questions) > 1 || echos[0] {
		return nil, secondFactor(t, fmt.Sprintf("asks %q", questions))
	}
	return []string{t.Password}, nil
}

// operatorAuthentication offers the keys that the ssh of the operator would offer.
func operatorAuthentication(ctx context.Context, t Endpoint) (login, error) {
	done := func() {}
	var fromAgent []ssh.Signer
	socket := t.operator.identityAgent
	if socket == "" && !t.operator.noAgent {
		socket = os.Getenv("SSH_AUTH_SOCK")
	}
	var failure error
	if socket != "" {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
		if err == nil {
			// An agent that asks its user keeps the list waiting as well.
			stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
			done = func() { stop(); _ = conn.Close() }
			fromAgent, err = agent.NewClient(conn).Signers()
		}
		if err != nil {
			failure = fmt.Errorf("ask the ssh-agent: %w", err)
		}
	}
	own, err := t.operator.identities()
	failure = errors.Join(failure, err)
	certificates, err := t.operator.certificates()
	failure = errors.Join(failure, err)
	signers := t.operator.offered(fromAgent, own, certificates)
	if len(signers) == 0 {
		done()
		return login{}, pai.Errorf(pai.CodeFailed, "set a key file in the configuration, or start an ssh-agent and add a key to it",
			"no ssh key for machine %q: %w", t.Name, errors.Join(failure, errNoOperatorKey))
	}
	return withKeys(signers, done), nil
}
