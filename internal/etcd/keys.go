package etcd

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"pai.dev/pai/internal/layout"
)

// Revisions are the revisions in which a key was created and last changed.
type Revisions struct{ Created, Modified int64 }

// keysTimeout limits a list of all keys. A cluster has up to some 100,000.
const keysTimeout = time.Minute

// Keys asks the etcd in a slot for the keys with a prefix.
func (c *Client) Keys(ctx context.Context, s layout.Slot, prefix string) (map[string]Revisions, error) {
	return ask(ctx, c, s, keysTimeout, "list the keys", func(ctx context.Context, etcd *clientv3.Client) (map[string]Revisions, error) {
		list, err := etcd.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
		if err != nil {
			return nil, err
		}
		keys := make(map[string]Revisions, len(list.Kvs))
		for _, kv := range list.Kvs {
			keys[string(kv.Key)] = Revisions{Created: kv.CreateRevision, Modified: kv.ModRevision}
		}
		return keys, nil
	})
}
