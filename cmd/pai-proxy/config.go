package main

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"slices"
)

// config is /etc/pai/api-proxy.json.
type config struct {
	Listen []string `json:"listen"`
	// Serve are the addresses for the proxies of other machines. They reach only the API
	// servers of this machine, and the proxy listens there only while one of them is ready:
	// elsewhere a connection is then refused at once, and goes to another machine. A
	// connection never passes more than two proxies.
	Serve      []string        `json:"serve,omitempty"`
	CA         string          `json:"ca"`         // file with the certificate authority of the cluster
	ServerName string          `json:"serverName"` // the name in the certificates of the API servers
	Backends   []backendConfig `json:"backends"`

	roots *x509.CertPool
}

type backendConfig struct {
	Address string `json:"address"`
	// Draining: no new connections; open ones end after a grace period.
	Draining bool `json:"draining,omitempty"`
	// Remote: an address of Serve on another machine. It is used while no API server of this
	// machine is ready.
	Remote bool `json:"remote,omitempty"`
}

// loadConfig reads the configuration and the certificate authority that it
// names. seen holds the content of both, so it changes with either of them.
func loadConfig(path string) (c config, seen string, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return c, "", err
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return c, "", fmt.Errorf("%s: %w", path, err)
	}
	if err := c.check(); err != nil {
		return c, "", fmt.Errorf("%s: %w", path, err)
	}
	ca, err := os.ReadFile(c.CA)
	if err != nil {
		return c, "", err
	}
	c.roots = x509.NewCertPool()
	if !c.roots.AppendCertsFromPEM(ca) {
		return c, "", fmt.Errorf("%s holds no certificate", c.CA)
	}
	return c, string(data) + string(ca), nil
}

// check refuses a configuration that sends a connection back to this proxy.
func (c config) check() error {
	for _, b := range c.Backends {
		if slices.Contains(c.Listen, b.Address) || slices.Contains(c.Serve, b.Address) {
			return fmt.Errorf("backend %s is an address of this proxy", b.Address)
		}
	}
	for _, a := range c.Serve {
		if slices.Contains(c.Listen, a) {
			return fmt.Errorf("%s is an address in listen and in serve", a)
		}
	}
	return nil
}

// several reports whether other machines have API servers too.
func (c config) several() bool {
	return slices.ContainsFunc(c.Backends, func(b backendConfig) bool { return b.Remote })
}

// rulesOf are the rules of the checks of a backend.
func (c config) rulesOf(b backendConfig) rules {
	switch {
	case b.Remote:
		return remote
	case c.several():
		return redundant
	default:
		return alone
	}
}
