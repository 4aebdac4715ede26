package certs

import (
	"errors"
	"fmt"
	"slices"
)

// KubeletSigner is the signer of Kubernetes for the identities of kubelets.
const KubeletSigner = "kubernetes.io/kube-apiserver-client-kubelet"

// tokenUser starts the user name of the holder of a join token, before its ID.
const tokenUser = "system:bootstrap:"

// JoinUser is the user name of the holder of a join token.
func JoinUser(tokenID string) string { return tokenUser + tokenID }

// CheckJoining returns why the request of the holder of a join token is not approved, or
// nil. The token was made for one machine, and gives the identity of its kubelet and no
// other one.
func CheckJoining(r RequestSpec, tokenID string, m Machine) error {
	if r.Username != JoinUser(tokenID) || r.SignerName != KubeletSigner {
		return fmt.Errorf("the user %q asks the signer %q", r.Username, r.SignerName)
	}
	csr, err := parseRequest(r.Request)
	if err != nil {
		return err
	}
	if csr.Subject.CommonName != nodeUser+m.Name || !slices.Equal(csr.Subject.Organization, []string{nodeGroup}) {
		return fmt.Errorf("its subject is %q, and the token is for machine %q", csr.Subject, m.Name)
	}
	if len(csr.DNSNames)+len(csr.IPAddresses)+len(csr.EmailAddresses)+len(csr.URIs) > 0 {
		return errors.New("it asks for names or addresses")
	}
	return checkUsages(r, "client auth")
}
