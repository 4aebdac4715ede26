package tlsserver

import (
	"crypto/tls"
	"fmt"
	"path/filepath"
	"sync"
	"time"
)

// certificate is the certificate of the server. It is read again when it is
// replaced.
type certificate struct {
	dir string

	mu     sync.Mutex
	loaded *tls.Certificate
	read   time.Time
}

const certificateFreshFor = 30 * time.Second

func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.loaded != nil && time.Since(c.read) < certificateFreshFor {
		return c.loaded, nil
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(c.dir, "tls.crt"), filepath.Join(c.dir, "tls.key"))
	switch {
	case err == nil:
		c.loaded = &pair
	case c.loaded == nil:
		return nil, fmt.Errorf("load the certificate of the server: %w", err)
	}
	c.read = time.Now()
	return c.loaded, nil
}
