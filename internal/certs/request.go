package certs

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"time"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/poll"
)

// Signers of Kubernetes.
const (
	ServingSigner = "kubernetes.io/kubelet-serving"
	ClientSigner  = "kubernetes.io/kube-apiserver-client"
)

const requestsPath = "/apis/certificates.k8s.io/v1/certificatesigningrequests"

// signingRequest is a CertificateSigningRequest of Kubernetes.
type signingRequest struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Metadata   map[string]any `json:"metadata"`
	Spec       RequestSpec    `json:"spec"`
	Status     struct {
		Conditions  []condition `json:"conditions,omitempty"`
		Certificate []byte      `json:"certificate,omitempty"`
	} `json:"status"`
}

// RequestSpec is what a request asks for, and who asks. The API server sets the user.
type RequestSpec struct {
	Request    []byte              `json:"request"`
	SignerName string              `json:"signerName"`
	Expiration *int32              `json:"expirationSeconds,omitempty"`
	Usages     []string            `json:"usages"`
	Username   string              `json:"username,omitempty"`
	UID        string              `json:"uid,omitempty"`
	Groups     []string            `json:"groups,omitempty"`
	Extra      map[string][]string `json:"extra,omitempty"`
}

type condition struct {
	Type           string `json:"type"`
	Status         string `json:"status"`
	Reason         string `json:"reason,omitempty"`
	Message        string `json:"message,omitempty"`
	LastUpdateTime string `json:"lastUpdateTime,omitempty"`
}

func (r *signingRequest) name() string {
	name, _ := r.Metadata["name"].(string)
	return name
}

// issueTimeout is how long the approval and the signature of a request may take.
const issueTimeout = 45 * time.Second

// These are of the signer of Kubernetes (pkg/controller/certificates/authority): the
// shortest time that it accepts, and how far it dates a certificate back. The life of a
// certificate is the time plus that, but from wholeFrom on it is the time alone.
const (
	minLife   = 10 * time.Minute
	datedBack = 5 * time.Minute
	wholeFrom = 8 * time.Hour
)

// asked is the time to ask the signer for, so that a certificate has a life.
func asked(lives time.Duration) time.Duration {
	if lives-datedBack >= wholeFrom {
		return lives
	}
	return max(minLife, lives-datedBack)
}

// request asks the API for a certificate like an old one, as the kubelet of this
// machine. kubeconfig is the file that gets it: it names the API.
func (s Store) request(ctx context.Context, kubeconfig []byte, old *x509.Certificate, key crypto.Signer) ([]byte, error) {
	a, err := s.kubeletAPI(kubeconfig)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{
		CommonName: old.Subject.CommonName, Organization: old.Subject.Organization}}, key)
	if err != nil {
		return nil, err
	}
	seconds := int32(asked(life(old)) / time.Second)
	r := &signingRequest{APIVersion: "certificates.k8s.io/v1", Kind: "CertificateSigningRequest", Metadata: map[string]any{"generateName": "pai-"},
		Spec: RequestSpec{Request: encode(blockRequest, der), SignerName: ClientSigner, Expiration: &seconds, Usages: []string{"digital signature", "client auth"}}}
	if err := a.do(ctx, http.MethodPost, requestsPath, r, r); err != nil {
		return nil, fmt.Errorf("ask for a certificate: %w", err)
	}
	wait := poll.Wait{For: "the signature of the certificate request " + r.name(), Timeout: issueTimeout, Every: 500 * time.Millisecond}
	err = wait.Until(ctx, func(ctx context.Context) (bool, error) {
		if err := a.do(ctx, http.MethodGet, requestsPath+"/"+r.name(), nil, r); err != nil {
			return false, err
		}
		for _, c := range r.Status.Conditions {
			if c.Type != "Approved" {
				return false, poll.Final(fmt.Errorf("the certificate request %s is %s: %s", r.name(), c.Type, c.Message))
			}
		}
		if len(r.Status.Conditions) == 0 {
			return false, errors.New("the control-plane machine has not approved it; there, see: journalctl -u " + layout.CertificatesUnit)
		}
		return len(r.Status.Certificate) > 0, nil
	})
	return r.Status.Certificate, err
}

// kubeletAPI is the API as the kubelet of this machine.
func (s Store) kubeletAPI(kubeconfig []byte) (*api, error) {
	to, err := readKubeconfig(kubeconfig)
	if err != nil {
		return nil, err
	}
	identity, err := s.read(layout.KubeletClientCertificate)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("the kubelet of this machine has no identity yet")
	}
	if err != nil {
		return nil, err
	}
	c, err := leaf(identity)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", layout.KubeletClientCertificate, err)
	}
	if !s.Now().Before(c.NotAfter) {
		return nil, fmt.Errorf("the identity of the kubelet ended on %s; on the operator's host, run: paictl cluster k8s-bootup", day(c.NotAfter))
	}
	return newAPI(to.server, to.authority, identity, identity)
}
