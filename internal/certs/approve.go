package certs

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"pai.dev/pai/internal/layout"
)

// Recorded is /etc/pai/certificates.json: the machines of the configuration.
type Recorded struct {
	Machines []Machine `json:"machines"`
}

// Approver approves the requests that Check accepts. It runs on the control-plane
// machine: the key of the authority is there, so it has no power that the machine
// does not have, and it needs neither a pod nor an operator. It uses an identity that
// lives only as long as a process, with the rights that it needs.
type Approver struct {
	Store
	refused map[string]bool // names of requests that were reported
}

// ownLife is the life of the identity of the approver, which it makes for each use.
const ownLife = 10 * time.Minute

// Approve approves what waits. It returns an error if it could not ask.
func (a *Approver) Approve(ctx context.Context) error {
	client, err := a.ownAPI()
	if err != nil {
		return err
	}
	machines, err := a.recorded()
	if err != nil {
		return err
	}
	var failed []error
	for _, signer := range []string{ServingSigner, ClientSigner} {
		var list struct {
			Items []signingRequest `json:"items"`
		}
		if err := client.do(ctx, http.MethodGet, requestsPath+"?fieldSelector="+url.QueryEscape("spec.signerName="+signer), nil, &list); err != nil {
			return fmt.Errorf("list the certificate requests: %w", err)
		}
		for i := range list.Items {
			if r := &list.Items[i]; len(r.Status.Conditions) == 0 {
				failed = append(failed, a.approve(ctx, client, r, machines))
			}
		}
	}
	return errors.Join(failed...)
}

// approve approves a request, or reports once why it does not. A refused request
// stays: the kubelet makes another, and Kubernetes removes it after a day.
func (a *Approver) approve(ctx context.Context, client *api, r *signingRequest, machines []Machine) error {
	if err := Check(r.Spec, machines, func(machine string) (string, error) { return client.kubelet(ctx, machine) }); err != nil {
		if !a.refused[r.name()] {
			a.Log.Warn("not approved", "request", r.name(), "user", r.Spec.Username, "reason", err.Error())
			if a.refused == nil {
				a.refused = map[string]bool{}
			}
			a.refused[r.name()] = true
		}
		return nil
	}
	r.APIVersion, r.Kind = "certificates.k8s.io/v1", "CertificateSigningRequest"
	r.Status.Conditions = []condition{{Type: "Approved", Status: "True", Reason: "MachineOfConfiguration", LastUpdateTime: a.Now().UTC().Format(time.RFC3339),
		Message: "the names and addresses are those of the machine in PAI's configuration"}}
	err := client.do(ctx, http.MethodPut, requestsPath+"/"+r.name()+"/approval", r, &struct{}{})
	if err != nil && !isNotFound(err) {
		return fmt.Errorf("approve certificate request %s: %w", r.name(), err)
	}
	a.Log.Info("approved", "request", r.name(), "user", r.Spec.Username, "signer", r.Spec.SignerName)
	return nil
}

// kubelet is the version of the kubelet that a node reports.
func (a *api) kubelet(ctx context.Context, node string) (string, error) {
	var got struct {
		Status struct {
			NodeInfo struct {
				KubeletVersion string `json:"kubeletVersion"`
			} `json:"nodeInfo"`
		} `json:"status"`
	}
	err := a.do(ctx, http.MethodGet, "/api/v1/nodes/"+url.PathEscape(node), nil, &got)
	return got.Status.NodeInfo.KubeletVersion, err
}

func (s Store) recorded() ([]Machine, error) {
	var r Recorded
	data, err := s.read(layout.CertificatesFile)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("read %s: %w", layout.CertificatesFile, err)
	}
	return r.Machines, nil
}

// ownAPI is the API as layout.CertificatesUser, where the key of the authority is.
func (s Store) ownAPI() (*api, error) {
	ca, err := s.issuer(clusterCA)
	if err != nil {
		return nil, err
	}
	data, err := s.read(layout.AdminConf)
	if err != nil {
		return nil, err
	}
	to, err := readKubeconfig(data)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", layout.AdminConf, err)
	}
	key, encoded, err := newKey()
	if err != nil {
		return nil, err
	}
	cert, err := ca.sign(&x509.Certificate{Subject: pkix.Name{CommonName: layout.CertificatesUser},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, key.Public(), ownLife, s.Now())
	if err != nil {
		return nil, err
	}
	return newAPI(to.server, to.authority, cert, encoded)
}
