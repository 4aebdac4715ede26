package etcd

import (
	"context"
	"maps"
	"slices"
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

// Values asks the etcd in a slot for the keys with one of these prefixes and their
// values.
func (c *Client) Values(ctx context.Context, s layout.Slot, prefixes []string) (map[string][]byte, error) {
	return ask(ctx, c, s, keysTimeout, "read the values", func(ctx context.Context, etcd *clientv3.Client) (map[string][]byte, error) {
		values := map[string][]byte{}
		for _, prefix := range prefixes {
			list, err := etcd.Get(ctx, prefix, clientv3.WithPrefix())
			if err != nil {
				return nil, err
			}
			for _, kv := range list.Kvs {
				values[string(kv.Key)] = kv.Value
			}
		}
		return values, nil
	})
}

// Replace writes and deletes keys. The result is the same however often it is
// called. It is only for data that no API server serves yet.
func (c *Client) Replace(ctx context.Context, s layout.Slot, put map[string][]byte, remove []string) error {
	_, err := ask(ctx, c, s, keysTimeout, "write restored keys", func(ctx context.Context, etcd *clientv3.Client) (struct{}, error) {
		for _, key := range remove {
			if _, err := etcd.Delete(ctx, key); err != nil {
				return struct{}{}, err
			}
		}
		for _, key := range slices.Sorted(maps.Keys(put)) {
			if _, err := etcd.Put(ctx, key, string(put[key])); err != nil {
				return struct{}{}, err
			}
		}
		return struct{}{}, nil
	})
	return err
}
