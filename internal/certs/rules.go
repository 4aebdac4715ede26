package certs

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"pai.dev/pai/internal/layout"
)

// Machine is a machine as its cluster's configuration records it.
type Machine struct {
	Name    string `json:"name"`
	Address string `json:"address"`
}

// nodeUser starts the user name of a kubelet, and its group is nodeGroup.
const (
	nodeUser  = "system:node:"
	nodeGroup = "system:nodes"
)

// Check returns why a request for a certificate is not approved, or nil. A kubelet
// gets a serving certificate for the recorded name and address of its machine, and
// the identity of the programs that run beside it on its machine, nothing else.
func Check(r RequestSpec, machines []Machine) error {
	name, isNode := strings.CutPrefix(r.Username, nodeUser)
	i := slices.IndexFunc(machines, func(m Machine) bool { return m.Name == name })
	if !isNode || i < 0 {
		return fmt.Errorf("the user %q is not the kubelet of a recorded machine", r.Username)
	}
	csr, err := parseRequest(r.Request)
	if err != nil {
		return err
	}
	if len(csr.EmailAddresses)+len(csr.URIs) > 0 {
		return errors.New("it asks for e-mail addresses or URIs")
	}
	switch r.SignerName {
	case ServingSigner:
		return checkServing(r, csr, machines[i])
	case ClientSigner:
		return checkClient(r, csr, machines[i])
	}
	return fmt.Errorf("PAI approves nothing for the signer %q", r.SignerName)
}

func parseRequest(data []byte) (*x509.CertificateRequest, error) {
	block, rest := pem.Decode(data)
	if block == nil || len(rest) > 0 {
		return nil, errors.New("it is not one PEM block")
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, err
	}
	return csr, csr.CheckSignature()
}

// checkServing checks that a request contains only the name and address of a machine.
func checkServing(r RequestSpec, csr *x509.CertificateRequest, m Machine) error {
	if csr.Subject.CommonName != nodeUser+m.Name || !slices.Equal(csr.Subject.Organization, []string{nodeGroup}) {
		return fmt.Errorf("its subject is %q", csr.Subject)
	}
	for _, name := range csr.DNSNames {
		if name != m.Name {
			return fmt.Errorf("it asks for the name %q", name)
		}
	}
	for _, ip := range csr.IPAddresses {
		if ip.String() != m.Address {
			return fmt.Errorf("it asks for the address %s", ip)
		}
	}
	if len(csr.DNSNames)+len(csr.IPAddresses) == 0 {
		return errors.New("it asks for no name and no address")
	}
	return checkUsages(r, "server auth")
}

// checkClient checks that a request is for a program of PAI on the machine itself.
func checkClient(r RequestSpec, csr *x509.CertificateRequest, m Machine) error {
	own := []string{layout.KubeProxyUser, layout.NetworkUser, layout.NetworkUser + ":" + m.Name}
	if !slices.Contains(own, csr.Subject.CommonName) || len(csr.Subject.Organization) > 0 {
		return fmt.Errorf("its subject is %q", csr.Subject)
	}
	if len(csr.DNSNames)+len(csr.IPAddresses) > 0 {
		return errors.New("it asks for names or addresses")
	}
	return checkUsages(r, "client auth")
}

func checkUsages(r RequestSpec, purpose string) error {
	for _, usage := range r.Usages {
		if usage != "digital signature" && usage != "key encipherment" && usage != purpose {
			return fmt.Errorf("it asks for the usage %q", usage)
		}
	}
	return nil
}
