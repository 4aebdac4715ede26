package machine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"pai.dev/pai/internal/pai"
)

// authentication uses the key or the password of the endpoint; without them, the
// agent and the keys that the ssh of the operator would use. Call done after
// connecting.
func authentication(ctx context.Context, t Endpoint) (methods []ssh.AuthMethod, done func(), err error) {
	if t.KeyFile == "" && t.Password != "" {
		return []ssh.AuthMethod{ssh.Password(t.Password), ssh.KeyboardInteractive(t.answerPassword)}, func() {}, nil
	}
	if t.KeyFile == "" {
		return operatorAuthentication(ctx, t)
	}
	signer, err := readKey(t)
	if err != nil {
		return nil, nil, err
	}
	return []ssh.AuthMethod{ssh.PublicKeys(signer)}, func() {}, nil
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
		return nil, pai.Errorf(pai.CodeFailed, "let "+t.User+" log in with a key or a password alone, for example from the address of this host (Match Address in sshd_config)",
			"the sshd of machine %q asks %q, which PAI cannot answer", t.Name, questions)
	}
	return []string{t.Password}, nil
}

// operatorAuthentication offers the keys of the agent, then the key files without a
// passphrase.
func operatorAuthentication(ctx context.Context, t Endpoint) ([]ssh.AuthMethod, func(), error) {
	done := func() {}
	var fromAgent func() ([]ssh.Signer, error)
	socket := t.operator.identityAgent
	if socket == "" {
		socket = os.Getenv("SSH_AUTH_SOCK")
	}
	var failure error
	if socket != "" {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
		if err != nil {
			failure = fmt.Errorf("connect to the ssh-agent: %w", err)
		} else {
			fromAgent, done = agent.NewClient(conn).Signers, func() { _ = conn.Close() }
		}
	}
	signers, err := keyFiles(t.operator.identityFiles)
	if err != nil {
		failure = errors.Join(failure, err)
	}
	if fromAgent == nil && len(signers) == 0 {
		return nil, nil, pai.Errorf(pai.CodeFailed, "set a key file in the configuration, or start an ssh-agent",
			"no ssh key for machine %q: %w", t.Name, errors.Join(failure, errNoOperatorAgent))
	}
	return []ssh.AuthMethod{ssh.PublicKeysCallback(func() ([]ssh.Signer, error) {
		if fromAgent == nil {
			return signers, nil
		}
		all, err := fromAgent()
		if err != nil && len(signers) == 0 {
			return nil, err
		}
		return append(all, signers...), nil
	})}, done, nil
}

// keyFiles reads the keys that need no passphrase.
func keyFiles(files []string) ([]ssh.Signer, error) {
	var signers []ssh.Signer
	var failed []error
	for _, file := range files {
		data, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			var signer ssh.Signer
			if signer, err = ssh.ParsePrivateKey(data); err == nil {
				signers = append(signers, signer)
				continue
			}
			if errors.As(err, new(*ssh.PassphraseMissingError)) {
				err = errors.New("it has a passphrase; add it to your ssh-agent")
			}
		}
		failed = append(failed, fmt.Errorf("read the ssh key %s: %w", file, err))
	}
	return signers, errors.Join(failed...)
}
