package certs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"time"

	"pai.dev/pai/internal/pai"
)

// secret is a Secret of Kubernetes with a certificate and its key.
type secret struct {
	Data map[string][]byte `json:"data"`
}

// RenewServer renews the certificates of the REST server, the portal, and node-exporter,
// which are in the cluster, if they are due, or in any case. It does nothing on a machine
// without the key of the authority, or for a server that does not exist. The servers read
// the files of the Secrets in each handshake. The keys stay.
func (s Store) RenewServer(ctx context.Context, all bool) error {
	client, err := s.ownAPI()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var problems []error
	for name, of := range map[string]string{pai.RESTServerTLS: "the REST server", pai.PortalTLS: "the portal", pai.MetricsTLS: "node-exporter"} {
		err := err
		if err == nil {
			err = s.renewServer(ctx, client, name, of, all)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("renew the certificate of %s: %w", of, err))
		}
	}
	return errors.Join(problems...)
}

// renewServer renews the certificate in a Secret, which the authority of the REST server
// signed; of says whose it is.
func (s Store) renewServer(ctx context.Context, client *api, name, of string, all bool) error {
	const base = "/api/v1/namespaces/" + pai.SystemNamespace + "/secrets/"
	var server, authority secret
	for name, into := range map[string]*secret{name: &server, pai.RESTServerCA: &authority} {
		err := client.do(ctx, http.MethodGet, base+name, nil, into)
		if isNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	old, err := leaf(server.Data[tlsCert])
	if err != nil {
		return err
	}
	if !all && !Due(old, s.Now()) {
		return nil
	}
	ca, err := newIssuer(authority.Data[tlsCert], authority.Data[tlsKey])
	if err != nil {
		return err
	}
	key, err := parseKey(server.Data[tlsKey])
	if err != nil {
		return err
	}
	cert, err := ca.renew(old, key.Public(), s.Now())
	if err != nil {
		return err
	}
	patch := map[string]any{"data": map[string][]byte{tlsCert: cert}}
	if err := client.do(ctx, http.MethodPatch, base+name+"?fieldManager="+pai.FieldManager, patch, &struct{}{}); err != nil {
		return err
	}
	s.Log.Info("renewed the certificate of "+of, "until", s.Now().Add(life(old)).UTC().Format(time.RFC3339))
	return nil
}

// Keys in a Secret of type kubernetes.io/tls.
const (
	tlsCert = "tls.crt"
	tlsKey  = "tls.key"
)
