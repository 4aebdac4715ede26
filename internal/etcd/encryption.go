package etcd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"pai.dev/pai/internal/keyring"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
)

const (
	secretsPrefix = "/registry/secrets/"
	// secretsPage bounds an answer: a Secret has 1 MiB at most.
	secretsPage = 50
	// secretsTimeout limits the reading of one page, also over a slow line.
	secretsTimeout = time.Minute
)

// SecretsByKey counts the Secrets in etcd by the name of the key that encrypts them;
// those that are not encrypted with a key of PAI have the name "". It asks the first etcd of
// a machine that serves.
func SecretsByKey(ctx context.Context, h machine.Host) (map[string]int, error) {
	c, err := Open(ctx, h)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	var failed []error
	for _, s := range layout.Slots() {
		if err := c.Health(ctx, s); err != nil {
			failed = append(failed, err)
			continue
		}
		return c.secretsByKey(ctx, s)
	}
	return nil, fmt.Errorf("count the Secrets by their encryption keys: %w", errors.Join(failed...))
}

// secretsByKey reads page by page. All pages are of one revision.
func (c *Client) secretsByKey(ctx context.Context, s layout.Slot) (map[string]int, error) {
	counts := map[string]int{}
	from, revision := secretsPrefix, int64(0)
	for {
		page, err := ask(ctx, c, s, secretsTimeout, "count the Secrets by their encryption keys", func(ctx context.Context, etcd *clientv3.Client) (*clientv3.GetResponse, error) {
			return etcd.Get(ctx, from, clientv3.WithRange(clientv3.GetPrefixRangeEnd(secretsPrefix)), clientv3.WithLimit(secretsPage), clientv3.WithRev(revision))
		})
		if err != nil {
			return nil, err
		}
		for _, kv := range page.Kvs {
			counts[keyOf(kv.Value)]++
			from = string(kv.Key) + "\x00"
		}
		if !page.More {
			return counts, nil
		}
		revision = page.Header.Revision
	}
}

// keyOf is the name of the key that encrypts a stored value; "" for none.
func keyOf(value []byte) string {
	rest, encrypted := bytes.CutPrefix(value, []byte(keyring.Prefix))
	name, _, found := bytes.Cut(rest[:min(len(rest), 300)], []byte(":"))
	if !encrypted || !found {
		return ""
	}
	return string(name)
}
