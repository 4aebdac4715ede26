package certs

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"time"

	"pai.dev/pai/internal/layout"
)

// OperatorLife is how long the certificate of an operator lives. Nothing can revoke a
// certificate, so it does not live long; paictl asks for another when a third of it
// has passed, so a client that it just made lasts for 16 hours.
const OperatorLife = 24 * time.Hour

// Group of operators, to which kubeadm grants all rights, and what starts their names.
const (
	operatorGroup = "kubeadm:cluster-admins"
	operatorUser  = "operator:"
)

// IssueOperator signs the public key of an operator, in PEM, and returns a kubeconfig
// without a key: that of the administrator stays on the machine, and the private key of
// the operator on the operator's host.
func (s Store) IssueOperator(name string, public []byte) ([]byte, error) {
	block, _ := pem.Decode(public)
	if block == nil || name == "" {
		return nil, errors.New("an operator needs a name and a public key in PEM")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	ca, err := s.issuer(clusterCA)
	if err != nil {
		return nil, err
	}
	cert, err := ca.sign(&x509.Certificate{Subject: pkix.Name{CommonName: operatorUser + name, Organization: []string{operatorGroup}},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, key, OperatorLife, s.Now())
	if err != nil {
		return nil, err
	}
	data, err := s.read(layout.AdminConf)
	if err != nil {
		return nil, err
	}
	return withIdentity(data, cert, nil)
}

// OperatorKubeconfig makes an identity for an operator: it lets issue sign a new key,
// and adds the key to the kubeconfig.
func OperatorKubeconfig(issue func(public []byte) (kubeconfig []byte, err error)) ([]byte, error) {
	key, encoded, err := newKey()
	if err != nil {
		return nil, err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	kubeconfig, err := issue(encode("PUBLIC KEY", public))
	if err != nil {
		return nil, err
	}
	a, err := readKubeconfig(kubeconfig)
	if err != nil {
		return nil, err
	}
	return withIdentity(kubeconfig, a.cert, encoded)
}
