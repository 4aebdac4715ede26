package certs

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
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
// kubelet is asked only about the user that network programs of v0.10 share.
func Check(r RequestSpec, machines []Machine, kubelet KubeletVersion) error {
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
		return checkClient(r, csr, machines[i], kubelet)
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

// KubeletVersion is the version of the kubelet that the node of a machine reports.
type KubeletVersion func(machine string) (string, error)

// checkClient checks that a request is for a program of PAI on the machine itself.
func checkClient(r RequestSpec, csr *x509.CertificateRequest, m Machine, kubelet KubeletVersion) error {
	own := []string{layout.KubeProxyUser, layout.NetworkUser, layout.NetworkUser + ":" + m.Name}
	if !slices.Contains(own, csr.Subject.CommonName) || len(csr.Subject.Organization) > 0 {
		return fmt.Errorf("its subject is %q", csr.Subject)
	}
	if len(csr.DNSNames)+len(csr.IPAddresses) > 0 {
		return errors.New("it asks for names or addresses")
	}
	if csr.Subject.CommonName == layout.NetworkUser {
		if err := checkShared(m, kubelet); err != nil {
			return err
		}
	}
	return checkUsages(r, "client auth")
}

// checkShared checks that a machine still has a network program of v0.10 or older, whose
// user is not only for its machine.
func checkShared(m Machine, kubelet KubeletVersion) error {
	version, err := kubelet(m.Name)
	if err != nil {
		return fmt.Errorf("it is for the shared user %q, and the version of the kubelet is unknown: %w", layout.NetworkUser, err)
	}
	// What is no version is older than every version, also than v1.0.
	if pai.CompareVersions(version, "v1.0") < 0 || pai.CompareVersions(version, layout.OwnNetworkUserSince) >= 0 {
		return fmt.Errorf("it is for the shared user %[1]q, and kubelet %[3]q of machine %[2]s is not one of v0.10", layout.NetworkUser, m.Name, version)
	}
	return nil
}

func checkUsages(r RequestSpec, purpose string) error {
	for _, usage := range r.Usages {
		if usage != "digital signature" && usage != "key encipherment" && usage != purpose {
			return fmt.Errorf("it asks for the usage %q", usage)
		}
	}
	return nil
}
