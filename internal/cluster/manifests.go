package cluster

import (
	"context"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"pai.dev/pai/internal/fingerprint"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/plan"
)

// recordDigest is the key of the digest in the record of an inventory.
const recordDigest = "digest"

// digestOf is the record of an inventory with the digest of its objects.
func digestOf(objects []*unstructured.Unstructured) (map[string]string, error) {
	data, err := json.Marshal(objects)
	if err != nil {
		return nil, fmt.Errorf("encode objects: %w", err)
	}
	return map[string]string{recordDigest: fingerprint.Of(data)}, nil
}

// applied reports whether the objects with a digest are those that an inventory
// applied last. An inventory of PAI v0.10 or older has no digest.
func (c *cluster) applied(ctx context.Context, k *kube.Client, inventory string, digest func() (string, error)) (bool, error) {
	have, err := appliedDigest(ctx, k, inventory)
	if err != nil || have == "" {
		return false, err
	}
	want, err := digest()
	return have == want, err
}

func appliedDigest(ctx context.Context, k *kube.Client, inventory string) (string, error) {
	inv, err := k.Inventory(ctx, inventory)
	if err != nil || inv == nil || inv.State != kube.InventoryApplied {
		return "", err
	}
	return inv.Record[recordDigest], nil
}

// AppliedManifests are the digests of the cluster's own objects as they were
// applied last.
func AppliedManifests(ctx context.Context, k *kube.Client) (m plan.Manifests, err error) {
	if m.Bootstrap, err = appliedDigest(ctx, k, bootstrapInventory); err != nil {
		return m, fmt.Errorf("read what the cluster needs in the API: %w", err)
	}
	if m.DNS, err = appliedDigest(ctx, k, dnsInventory); err != nil {
		return m, fmt.Errorf("read the objects of CoreDNS: %w", err)
	}
	return m, nil
}
