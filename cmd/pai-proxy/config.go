package main

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
)

// config is /etc/pai/api-proxy.json.
type config struct {
	Listen     []string        `json:"listen"`
	CA         string          `json:"ca"`         // file with the certificate authority of the cluster
	ServerName string          `json:"serverName"` // the name in the certificates of the API servers
	Backends   []backendConfig `json:"backends"`

	roots *x509.CertPool
}

type backendConfig struct {
	Address string `json:"address"`
	// Draining: no new connections; open ones end after a grace period.
	Draining bool `json:"draining,omitempty"`
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
