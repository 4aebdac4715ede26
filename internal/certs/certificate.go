package certs

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"time"
)

// yearLife is the longest life that counts. kubeadm dates a certificate back to the
// beginning of its authority, so the dates of a later one span more.
const yearLife = 365 * 24 * time.Hour

// life is how long a certificate is meant to live.
func life(c *x509.Certificate) time.Duration { return min(c.NotAfter.Sub(c.NotBefore), yearLife) }

// Due reports whether a certificate is to be renewed: less than a third of its life
// is left. Nothing renews authorities.
func Due(c *x509.Certificate, now time.Time) bool { return !c.IsCA && !now.Before(dueAt(c)) }

// dueAt is when a certificate becomes due.
func dueAt(c *x509.Certificate) time.Time { return c.NotAfter.Add(-life(c) / 3) }

// Ended reports whether the first certificate of a file has ended.
func Ended(data []byte, now time.Time) bool {
	c, err := leaf(data)
	return err == nil && !now.Before(c.NotAfter)
}

// Parse returns all certificates of a file in PEM, in order. It passes over keys.
func Parse(data []byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for rest := bytes.TrimSpace(data); len(rest) > 0; rest = bytes.TrimSpace(rest) {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, errors.New("it is not in PEM")
		}
		if block.Type != blockCertificate {
			continue
		}
		one, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	if len(all) == 0 {
		return nil, errors.New("it has no certificate")
	}
	return all, nil
}

// leaf returns the first certificate of a file.
func leaf(data []byte) (*x509.Certificate, error) {
	all, err := Parse(data)
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// Types of PEM blocks.
const (
	blockCertificate = "CERTIFICATE"
	blockRequest     = "CERTIFICATE REQUEST"
	blockKey         = "PRIVATE KEY"
)

func encode(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
