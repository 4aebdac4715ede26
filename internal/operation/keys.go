package operation

import (
	"context"
	"fmt"
	"slices"
	"time"

	"pai.dev/pai/internal/certs"
	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/inspect/helper"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/internal/session"
)

// EncryptionKey is a key that encrypts Secrets.
type EncryptionKey struct {
	Name string `json:"name"`
	// Encrypts is set for the key that the API server uses for new values. All keys decrypt.
	Encrypts bool `json:"encrypts"`
	// Secrets is how many Secrets in etcd it encrypts.
	Secrets int `json:"secrets"`
}

// ClusterKeys are the keys of a cluster; none of them is a secret.
type ClusterKeys struct {
	Encryption []EncryptionKey `json:"encryption"`
	// Unencrypted is how many Secrets in etcd no key encrypts.
	Unencrypted int `json:"unencrypted,omitempty"`
	// Authorities are the certificates of the authorities.
	Authorities []certs.Certificate `json:"authorities"`
}

// Keys returns the keys of the cluster, from the control-plane machine.
func Keys(ctx context.Context, s *session.Session) (ClusterKeys, error) {
	host, err := s.ControlPlane()
	if err != nil {
		return ClusterKeys{}, err
	}
	names, secrets, err := cluster.ReadKeys(ctx, host)
	if err != nil {
		return ClusterKeys{}, err
	}
	keys := ClusterKeys{Unencrypted: secrets[""], Encryption: []EncryptionKey{}, Authorities: []certs.Certificate{}}
	for i, name := range names.Names {
		keys.Encryption = append(keys.Encryption, EncryptionKey{Name: name, Encrypts: i == 0, Secrets: secrets[name]})
		delete(secrets, name)
	}
	delete(secrets, "")
	for name, n := range secrets { // etcd has Secrets of a key that is lost
		return keys, pai.Errorf(pai.CodeFailed, "put the key into "+layout.EncryptionFile+" again, from a backup; see docs/operating.md",
			"%d Secrets are encrypted with the key %q, which the control-plane machine lacks", n, name)
	}
	report, err := helper.Parts(ctx, host, inspect.Certificates)
	for _, c := range report.Certificates {
		if c.Authority && !slices.ContainsFunc(keys.Authorities, func(a certs.Certificate) bool { return a.Path == c.Path }) {
			keys.Authorities = append(keys.Authorities, c)
		}
	}
	return keys, err
}

// RotateKey is the goal to encrypt all Secrets with a new key.
func RotateKey() Goal {
	return &keyGoal{verb: pai.VerbRotateKey, plan: func(w plan.World, k plan.Keys) (plan.Plan, error) {
		return plan.RotateKey(w, k, time.Now().UTC().Format("20060102"))
	}}
}

// RemoveKey is the goal to remove a key that encrypts no Secret.
func RemoveKey(name string) Goal {
	return &keyGoal{verb: pai.VerbRemoveKey, plan: func(w plan.World, k plan.Keys) (plan.Plan, error) { return plan.RemoveKey(w, k, name) }}
}

type keyGoal struct {
	verb pai.Verb
	plan func(plan.World, plan.Keys) (plan.Plan, error)
}

func (g *keyGoal) Verb() pai.Verb                        { return g.verb }
func (g *keyGoal) Plan(in plan.Input) (plan.Plan, error) { return g.plan(in.World, in.Keys) }

// Gather adds the keys, which are read again under the lock.
func (g *keyGoal) Gather(ctx context.Context, s *session.Session, in *plan.Input) error {
	if in.World.Current.Kubernetes == "" {
		return nil // planning refuses it
	}
	host, err := s.ControlPlane()
	if err != nil {
		return err
	}
	names, secrets, err := cluster.ReadKeys(ctx, host)
	if err != nil {
		return fmt.Errorf("read the encryption keys: %w", err)
	}
	in.Keys = plan.Keys{Names: names.Names, Secrets: secrets}
	return nil
}
