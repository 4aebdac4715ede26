package etcd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
)

// Certificates are the client certificates of machines. Each is read once: that
// takes as long as a hundred requests. The zero value is ready to use.
type Certificates struct{ machines sync.Map } // name → *tls.Config

func (c *Certificates) read(ctx context.Context, h machine.Host) (*tls.Config, error) {
	if known, found := c.machines.Load(h.Name()); found {
		return known.(*tls.Config), nil
	}
	read, err := readCredentials(ctx, h)
	if err == nil {
		c.machines.Store(h.Name(), read)
	}
	return read, err
}

// readCredentials reads the certificate that a control-plane machine has for
// requests to its etcd. The key stays in memory; no error contains it.
func readCredentials(ctx context.Context, h machine.Host) (*tls.Config, error) {
	files := []string{layout.PKIDir + "/etcd/ca.crt", layout.PKIDir + "/etcd/healthcheck-client.crt", layout.PKIDir + "/etcd/healthcheck-client.key"}
	contents := make([][]byte, len(files))
	group, groupCtx := errgroup.WithContext(ctx)
	for i, file := range files {
		group.Go(func() (err error) {
			contents[i], err = h.ReadFile(groupCtx, file)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("read the etcd client certificate on %q: %w", h.Name(), err)
	}
	certificate, err := tls.X509KeyPair(contents[1], contents[2])
	if err != nil {
		return nil, fmt.Errorf("read the etcd client certificate %s on %q: %w", files[1], h.Name(), err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(contents[0]) {
		return nil, fmt.Errorf("%s on %q contains no certificate", files[0], h.Name())
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: []tls.Certificate{certificate}}, nil
}
