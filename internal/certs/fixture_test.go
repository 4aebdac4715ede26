package certs

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/layout"
)

// fixture is a made-up control-plane machine. Its clock is now.
type fixture struct {
	t *testing.T
	Store
	now      time.Time
	started  time.Time // when all units started
	restarts []string
	lives    time.Duration
}

func newFixture(t *testing.T, lives time.Duration) *fixture {
	t.Helper()
	f := &fixture{t: t, now: time.Now().Truncate(time.Second), lives: lives}
	f.started = f.now.Add(time.Hour)
	f.Store = Store{Root: t.TempDir(), Now: func() time.Time { return f.now }, Run: f.run, Log: slog.New(slog.DiscardHandler)}
	for _, ca := range []file{
		{path: clusterCA, key: layout.PKIDir + "/ca.key"}, {path: etcdCA, key: layout.PKIDir + "/etcd/ca.key"},
		{path: frontProxyCA, key: layout.PKIDir + "/front-proxy-ca.key"},
	} {
		f.authority(ca)
	}
	for _, file := range files() {
		switch file.kind {
		case kindPair:
			f.pair(file)
		case kindKubeconfig:
			if file.path != layout.SuperAdminConf {
				f.kubeconfig(file.path, "system:user", "https://127.0.0.1:1")
			}
		case kindKubelet, kindAuthority:
		}
	}
	return f
}

func (f *fixture) run(_ context.Context, name string, args ...string) (string, error) {
	switch line := strings.Join(append([]string{name}, args...), " "); {
	case strings.HasPrefix(line, "systemctl show --timestamp=unix "):
		return fmt.Sprintf("ActiveState=active\nExecMainStartTimestamp=@%d\n", f.started.Unix()), nil
	case strings.HasPrefix(line, "systemctl try-restart "):
		f.restarts = append(f.restarts, args[1])
		return "", nil
	default:
		return "", fmt.Errorf("unexpected: %s", line)
	}
}

func (f *fixture) put(name string, data []byte) {
	f.t.Helper()
	at := filepath.Join(f.Root, name)
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(at, data, 0o600); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) check(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) authority(ca file) {
	key, encoded, err := newKey()
	f.check(err)
	template := &x509.Certificate{Subject: pkix.Name{CommonName: filepath.Base(ca.path)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	self := issuer{cert: &x509.Certificate{Subject: template.Subject, NotAfter: f.now.Add(10 * yearLife)}, key: key}
	cert, err := self.sign(template, key.Public(), 10*yearLife, f.now)
	f.check(err)
	f.put(ca.path, cert)
	f.put(ca.key, encoded)
}

// leaf signs a certificate with the authority of the machine.
func (f *fixture) leaf(signer, name string) (cert, key []byte) {
	f.t.Helper()
	ca, err := f.issuer(signer)
	f.check(err)
	private, key, err := newKey()
	f.check(err)
	cert, err = ca.sign(&x509.Certificate{Subject: pkix.Name{CommonName: name, Organization: []string{"team"}}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:    []string{"localhost", layout.APIName}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, private.Public(), f.lives, f.now)
	f.check(err)
	return cert, key
}

func (f *fixture) pair(file file) {
	cert, key := f.leaf(file.signer, filepath.Base(file.path))
	f.put(file.path, cert)
	f.put(file.key, key)
}

func (f *fixture) kubeconfig(path, user, server string) {
	f.t.Helper()
	ca, err := f.read(clusterCA)
	f.check(err)
	cert, key := f.leaf(clusterCA, user)
	text := base64.StdEncoding.EncodeToString
	f.put(path, fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters:
- name: kubernetes
  cluster: {server: %q, certificate-authority-data: %s}
contexts:
- name: x
  context: {cluster: kubernetes, user: x}
current-context: x
users:
- name: x
  user: {client-certificate-data: %s, client-key-data: %s}
`, server, text(ca), text(cert), text(key)))
}

// certificateIn is the certificate of a file.
func (f *fixture) certificateIn(path string) *x509.Certificate {
	f.t.Helper()
	for _, file := range files() {
		if file.path == path {
			c, err := f.certificate(file)
			f.check(err)
			return c
		}
	}
	f.t.Fatalf("%s is no file with a certificate", path)
	return nil
}
