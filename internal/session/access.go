package session

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"pai.dev/pai/internal/rest"
)

// Tokens are the tokens of the REST server of the cluster.
func (s *Session) Tokens(ctx context.Context) (rest.Tokens, error) {
	client, err := s.Kube(ctx)
	return rest.Tokens{Cluster: client}, err
}

// Accounts are the users and groups of the REST server of the cluster.
func (s *Session) Accounts(ctx context.Context) (rest.Accounts, error) {
	client, err := s.Kube(ctx)
	return rest.Accounts{Store: client, VirtualClusters: slices.Sorted(maps.Keys(s.Config.Services.VirtualClusters)),
		Storages: s.Config.Services.StorageList()}, err
}

// RestServer says how clients reach the REST server.
func (s *Session) RestServer() rest.Endpoint {
	e := rest.Endpoint{Port: s.Config.Services.RestServer.ServerPort}
	for _, m := range s.Config.Layout.MachineList {
		e.Addresses = append(e.Addresses, m.HostIP)
	}
	return e
}

// Portal says how browsers reach the portal.
func (s *Session) Portal() rest.Endpoint {
	e := s.RestServer()
	e.Port = s.Config.Services.Webportal.ServerPort
	return e
}

// SaveToken makes a token the one that paictl uses on this host, and returns the file.
func (s *Session) SaveToken(ctx context.Context, user, token string) (string, error) {
	client, err := s.Kube(ctx)
	if err != nil {
		return "", err
	}
	access, err := rest.AccessTo(ctx, client, s.RestServer(), user, token)
	if err != nil {
		return "", err
	}
	file := filepath.Join(s.ClusterDir(), rest.AccessFile)
	return file, access.Save(file)
}

// TokenNote says which host a token is for.
func TokenNote() string {
	host, err := os.Hostname()
	if err != nil {
		return "paictl"
	}
	return fmt.Sprintf("paictl on %.80s", host)
}
