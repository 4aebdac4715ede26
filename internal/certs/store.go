package certs

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"time"

	"pai.dev/pai/internal/atomicfile"
	"pai.dev/pai/internal/filelock"
	"pai.dev/pai/internal/layout"
)

// Store has the certificates of a machine.
type Store struct {
	// Root is the root directory of the machine: "/", or a made-up directory.
	Root string
	// Now is the clock of the machine.
	Now func() time.Time
	// Run runs a program of the machine and returns its standard output.
	Run func(ctx context.Context, name string, args ...string) (string, error)
	Log *slog.Logger
}

// Certificate is a certificate in a file of the machine, or in a Secret.
type Certificate struct {
	// Path is the file; kubeconfigs have the certificate in them. A Secret is
	// "secret/NAMESPACE/NAME/KEY".
	Path      string    `json:"path"`
	Subject   string    `json:"subject"`
	NotBefore time.Time `json:"notBefore"`
	NotAfter  time.Time `json:"notAfter"`
	// Authority: it signs others, and nothing renews it.
	Authority bool `json:"authority,omitempty"`
	// Kubelet: the kubelet renews it.
	Kubelet bool `json:"kubelet,omitempty"`
	// Program: the service that uses it renews it.
	Program bool `json:"program,omitempty"`
	// Due: less than a third of its life is left.
	Due bool `json:"due,omitempty"`
}

// List returns the certificates of the machine. A file that cannot be read has its
// problem by its path.
func (s Store) List() ([]Certificate, map[string]string) {
	list, problems := []Certificate{}, map[string]string{}
	for _, f := range files() {
		c, err := s.certificate(f)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			problems[f.path] = err.Error()
		default:
			list = append(list, Certificate{Path: f.path, Subject: c.Subject.CommonName, NotBefore: c.NotBefore, NotAfter: c.NotAfter,
				Authority: c.IsCA, Kubelet: f.kind == kindKubelet, Due: Due(c, s.Now())})
		}
	}
	return list, problems
}

// certificate reads the certificate of a file.
func (s Store) certificate(f file) (*x509.Certificate, error) {
	data, err := s.read(f.path)
	if err != nil {
		return nil, err
	}
	if f.kind == kindKubeconfig {
		a, err := readKubeconfig(data)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", f.path, err)
		}
		data = a.cert
	}
	c, err := leaf(data)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.path, err)
	}
	return c, nil
}

// at is the path of a file of the machine. In a made-up root, an absolute link
// names a file in that root.
func (s Store) at(name string) string {
	at := filepath.Join(s.Root, name)
	if target, err := os.Readlink(at); err == nil && path.IsAbs(target) {
		return filepath.Join(s.Root, target)
	}
	return at
}

func (s Store) read(name string) ([]byte, error) { return os.ReadFile(s.at(name)) }

func (s Store) write(name string, data []byte, mode fs.FileMode) error {
	return atomicfile.Write(s.at(name), data, mode)
}

// lock keeps other processes of the machine from renewing at the same time.
func (s Store) lock(ctx context.Context) (unlock func(), err error) {
	return filelock.Lock(ctx, s.at(layout.RunDir+"/certificates.lock"), func() {})
}

// changed is when a file was written last, in whole seconds.
func (s Store) changed(name string) (time.Time, error) {
	info, err := os.Stat(s.at(name))
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime().Truncate(time.Second), nil
}
