package rest

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
)

// UsersMigration brings the users' Secret into a form: on the way from v0.9 to
// v0.10 into entries, and undone into the document. Everything is one write of
// one object, so no moment shows half of it, whenever it is cut short.
type UsersMigration struct{ To UsersForm }

// Done is true when nothing is stored in another form. A cluster without users
// has nothing to migrate.
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

// attempts is how often a write is begun anew because somebody else wrote.
const attempts = 5

// Do may be run again at any time. It loses nobody: what it writes is what a
// server that reads both forms sees just before, and the write is refused when
// somebody else wrote since.
func (m UsersMigration) Do(ctx context.Context, c *kube.Client) error {
	ref := kube.Ref{Version: "v1", Kind: "Secret", Namespace: pai.SystemNamespace, Name: usersSecret}
	for n := 1; ; n++ {
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
		if err := c.PatchUnchanged(ctx, ref, patch); !apierrors.IsConflict(err) || n == attempts {
			if err != nil {
				return fmt.Errorf("bring the users into the form %q: %w", m.To, err)
			}
			return nil
		}
	}
}

// patch writes the users in the wanted form and takes the other one away.
func (m UsersMigration) patch(secret *corev1.Secret) ([]byte, error) {
	everybody, err := readDirectory(secret, UsersByEntry)
	if err != nil {
		return nil, err
	}
	want, err := everybody.encode(m.To)
	if err != nil {
		return nil, err
	}
	data := map[string]any{}
	for key := range secret.Data {
		data[key] = nil
	}
	for key, value := range want {
		data[key] = value // as base64
	}
	return json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": secret.ResourceVersion},
		"data":     data,
	})
}
