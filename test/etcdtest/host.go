package etcdtest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
)

// PKI is a certificate authority with one certificate for servers and clients.
type PKI struct{ CA, Certificate, Key []byte }

func NewPKI(t testing.TB, addresses ...string) PKI {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	newKey := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		check(err)
		return key
	}
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	caKey, key := newKey(), newKey()
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "etcd-ca"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	check(err)
	one := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "etcd"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter}
	for _, a := range append(addresses, "127.0.0.1") {
		one.IPAddresses = append(one.IPAddresses, net.ParseIP(a))
	}
	der, err := x509.CreateCertificate(rand.Reader, one, ca, key.Public(), caKey)
	check(err)
	keyDER, err := x509.MarshalECPrivateKey(key)
	check(err)
	return PKI{CA: block("CERTIFICATE", caDER), Certificate: block("CERTIFICATE", der), Key: block("EC PRIVATE KEY", keyDER)}
}

// server is the TLS configuration of an etcd that requires client certificates.
func (p PKI) server(t testing.TB) *tls.Config {
	t.Helper()
	pair, err := tls.X509KeyPair(p.Certificate, p.Key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(p.CA)
	return &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert}
}

// Host is a machine with files, and with ports that are elsewhere.
type Host struct {
	machine.Host
	name  string
	Files map[string][]byte

	mu    sync.Mutex
	Ports map[int]string // of its loopback address → the true address
	Hangs chan error     // if set, Dial waits for its context and reports its error here
	open  int            // connections
}

func NewHost(name string, p PKI) *Host {
	dir := layout.PKIDir + "/etcd/"
	return &Host{name: name, Ports: map[int]string{}, Files: map[string][]byte{
		dir + "ca.crt": p.CA, dir + "healthcheck-client.crt": p.Certificate, dir + "healthcheck-client.key": p.Key,
	}}
}

func (h *Host) Name() string { return h.name }

func (h *Host) ReadFile(_ context.Context, path string) ([]byte, error) {
	if data, found := h.Files[path]; found {
		return data, nil
	}
	return nil, fmt.Errorf("read %s: %w", path, fs.ErrNotExist)
}

func (h *Host) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if h.Hangs != nil {
		<-ctx.Done()
		h.Hangs <- ctx.Err()
		return nil, ctx.Err()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	var port int
	if _, err := fmt.Sscanf(strings.TrimPrefix(address, "127.0.0.1:"), "%d", &port); err != nil {
		return nil, fmt.Errorf("%s is no port of the loopback address", address)
	}
	if h.Ports[port] == "" {
		return nil, errors.New("connection refused by " + address)
	}
	conn, err := new(net.Dialer).DialContext(ctx, network, h.Ports[port])
	if err != nil {
		return nil, err
	}
	h.open++
	return &countedConn{Conn: conn, closed: sync.OnceFunc(func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.open--
	})}, nil
}

func (h *Host) OpenConnections() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.open
}

type countedConn struct {
	net.Conn
	closed func()
}

func (c *countedConn) Close() error {
	c.closed()
	return c.Conn.Close()
}
