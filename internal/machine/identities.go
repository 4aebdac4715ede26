package machine

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync/atomic"

	"golang.org/x/crypto/ssh"
)

// identity is a key of the ssh configuration. An agent can have its private part.
type identity struct {
	public ssh.PublicKey
	signer ssh.Signer // nil if it needs a passphrase, or only the public part is there
}

// identities reads the keys of the configuration. Files that do not exist are no mistake:
// ssh has names that it looks for.
func (o operatorSSH) identities() ([]identity, error) {
	var all []identity
	var failed []error
	for _, file := range o.identityFiles {
		one, err := readIdentity(file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			failed = append(failed, fmt.Errorf("read the ssh key %s: %w", file, err))
		}
		if one.public != nil {
			all = append(all, one)
		}
	}
	return all, errors.Join(failed...)
}

// readIdentity reads a private key, or the public part beside it or in its place.
func readIdentity(file string) (identity, error) {
	data, err := os.ReadFile(file)
	if err == nil {
		var signer ssh.Signer
		if signer, err = ssh.ParsePrivateKey(data); err == nil {
			return identity{signer.PublicKey(), signer}, nil
		}
		if public, _, _, _, failure := ssh.ParseAuthorizedKey(data); failure == nil {
			return identity{public: public}, nil
		}
		if errors.As(err, new(*ssh.PassphraseMissingError)) {
			err = errors.New("it has a passphrase; add it to your ssh-agent")
		}
	}
	if public, failure := readPublic(file + ".pub"); failure == nil {
		return identity{public: public}, err
	}
	return identity{}, err
}

func readPublic(file string) (ssh.PublicKey, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	public, _, _, _, err := ssh.ParseAuthorizedKey(data)
	return public, err
}

// certificates reads CertificateFile and, as ssh does, those beside the keys.
func (o operatorSSH) certificates() ([]*ssh.Certificate, error) {
	var all []*ssh.Certificate
	var failed []error
	beside := make([]string, 0, len(o.identityFiles))
	for _, file := range o.identityFiles {
		beside = append(beside, file+"-cert.pub")
	}
	for _, file := range slices.Concat(o.certificateFiles, beside) {
		public, err := readPublic(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		certificate, ok := public.(*ssh.Certificate)
		if err == nil && !ok {
			err = errors.New("it is no certificate")
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("read the ssh certificate %s: %w", file, err))
			continue
		}
		all = append(all, certificate)
	}
	return all, errors.Join(failed...)
}

// offered are the keys in the order of ssh: those of the configuration that the agent has,
// the others of the agent unless IdentitiesOnly is set, then files. sshd ends a connection
// after some keys (MaxAuthTries). A certificate comes before its key.
func (o operatorSSH) offered(fromAgent []ssh.Signer, own []identity, certificates []*ssh.Certificate) []ssh.Signer {
	var first, others, files []ssh.Signer
	for _, one := range own {
		i := slices.IndexFunc(fromAgent, func(s ssh.Signer) bool { return sameKey(s.PublicKey(), one.public) })
		switch {
		case i >= 0:
			first = append(first, fromAgent[i])
		case one.signer != nil:
			files = append(files, one.signer)
		}
	}
	for _, s := range fromAgent {
		if !o.identitiesOnly && !slices.Contains(first, s) {
			others = append(others, s)
		}
	}
	var all []ssh.Signer
	for _, s := range slices.Concat(first, others, files) {
		for _, c := range certificates {
			if !sameKey(c.Key, s.PublicKey()) {
				continue
			}
			if signer, err := ssh.NewCertSigner(c, s); err == nil { // else it is no certificate of a key
				all = append(all, signer)
			}
		}
		all = append(all, s)
	}
	return all
}

func sameKey(a, b ssh.PublicKey) bool { return bytes.Equal(a.Marshal(), b.Marshal()) }

// usedKeys notes whether a key has signed. A client signs only with a key that the machine
// said it would accept (RFC 4252, section 7).
type usedKeys struct{ signed atomic.Bool }

func (u *usedKeys) note(signers []ssh.Signer) []ssh.Signer {
	noted := make([]ssh.Signer, len(signers))
	for i, s := range signers {
		noted[i] = s
		if with, ok := s.(ssh.AlgorithmSigner); ok { // as all signers of Go are
			noted[i] = notedSigner{with, u}
		}
	}
	return noted
}

type notedSigner struct {
	ssh.AlgorithmSigner
	used *usedKeys
}

func (n notedSigner) Sign(random io.Reader, data []byte) (*ssh.Signature, error) {
	signature, err := n.AlgorithmSigner.Sign(random, data)
	n.used.signed.Store(n.used.signed.Load() || err == nil)
	return signature, err
}

func (n notedSigner) SignWithAlgorithm(random io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	signature, err := n.AlgorithmSigner.SignWithAlgorithm(random, data, algorithm)
	n.used.signed.Store(n.used.signed.Load() || err == nil)
	return signature, err
}
