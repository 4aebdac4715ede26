package rest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"

	"pai.dev/pai/internal/pai"
)

// linkKeyKey is the key of the Secret of the users with what signs links to output. All
// servers have the same, and links live for minutes: losing it costs nothing.
const linkKeyKey = "link-key"

// LinkKey returns the key that signs links. The first server that needs it makes it.
func (u *Users) LinkKey(store UserStore) func(ctx context.Context) ([]byte, error) {
	return func(ctx context.Context) ([]byte, error) {
		for {
			u.mu.Lock()
			key := u.linkKey
			u.mu.Unlock()
			if len(key) > 0 {
				return key, nil
			}
			err := despiteConflicts(ctx, func() error { return makeLinkKey(ctx, store) })
			if err != nil {
				return nil, apiErrorUnlessKnown("make the key of links", err)
			}
			if _, err := u.current(ctx); err != nil {
				return nil, err
			}
		}
	}
}

func makeLinkKey(ctx context.Context, store UserStore) error {
	secret, err := getSecret(ctx, store, usersSecret)
	if err != nil || len(secret.Data[linkKeyKey]) > 0 {
		return err
	}
	if secret.ResourceVersion == "" {
		return pai.Errorf(pai.CodeNotFound, "start the services; run: paictl service start", "the users of the REST server do not exist")
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": secret.ResourceVersion},
		"data":     map[string]any{linkKeyKey: key}, // as base64
	})
	if err != nil {
		return fmt.Errorf("make the key of links: %w", err)
	}
	return store.PatchUnchanged(ctx, usersRef(), patch)
}
