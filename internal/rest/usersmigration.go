package rest

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"pai.dev/pai/internal/kube"
)

// UsersMigration converts the Secret of the users: into entries for v0.10, or
// into the document to undo that. It is one write of one object, so an
// interruption leaves no incomplete Secret.
type UsersMigration struct{ To UsersForm }

// Done is true if nothing is stored in another form. A cluster without users has
// nothing to migrate.
func (m UsersMigration) Done(ctx context.Context, c *kube.Client) (bool, error) {
	secret, err := getSecret(ctx, c, usersSecret)
	if err != nil {
		return false, err
	}
	_, document := secret.Data[usersKey]
	if m.To == UsersDocument {
		return len(entryKeys(secret)) == 0, nil
	}
	return !document, nil
}

// Do can run again at any time. It loses no user: it writes what a server that
// reads both forms sees, and the API refuses the write after a concurrent one.
func (m UsersMigration) Do(ctx context.Context, c *kube.Client) error {
	return despiteConflicts(ctx, func() error {
		if done, err := m.Done(ctx, c); done || err != nil {
			return err
		}
		secret, err := getSecret(ctx, c, usersSecret)
		if err != nil {
			return err
		}
		patch, err := m.patch(secret)
		if err != nil {
			return err
		}
		if err := c.PatchUnchanged(ctx, usersRef(), patch); err != nil {
			return fmt.Errorf("convert the users into the form %q: %w", m.To, err)
		}
		return nil
	})
}

// patch writes the users in the wanted form and removes the other one.
func (m UsersMigration) patch(secret *corev1.Secret) ([]byte, error) {
	users, err := readDirectory(secret, UsersByEntry)
	if err != nil {
		return nil, err
	}
	want, err := users.encode(m.To)
	if err != nil {
		return nil, err
	}
	return usersPatch(secret.ResourceVersion, ownData(secret), want)
}
