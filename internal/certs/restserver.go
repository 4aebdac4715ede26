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

// RenewServer renews the certificate of the REST server, which is in the cluster, if
// it is due, or in any case. It does nothing on a machine without the key of the
// authority, or if there is no REST server. Its replicas read the files of the Secret
// in each handshake. The key stays.
func (s Store) RenewServer(ctx context.Context, all bool) error {
	client, err := s.ownAPI()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = s.renewServer(ctx, client, all)
	}
	if err != nil {
		return fmt.Errorf("renew the certificate of the REST server: %w", err)
	}
	return nil
}

func (s Store) renewServer(ctx context.Context, client *api, all bool) error {
	const base = "/api/v1/namespaces/" + pai.SystemNamespace + "/secrets/"
	var server, authority secret
	for name, into := range map[string]*secret{pai.RESTServerTLS: &server, pai.RESTServerCA: &authority} {
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
	if err := client.do(ctx, http.MethodPatch, base+pai.RESTServerTLS+"?fieldManager="+pai.FieldManager, patch, &struct{}{}); err != nil {
		return err
	}
	s.Log.Info("renewed the certificate of the REST server", "until", s.Now().Add(life(old)).UTC().Format(time.RFC3339))
	return nil
}

// Keys in a Secret of type kubernetes.io/tls.
const (
	tlsCert = "tls.crt"
	tlsKey  = "tls.key"
)
