//go:build e2e

package kube_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	clientrest "k8s.io/client-go/rest"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/test/kubetest"
)

type countingTransport struct {
	next http.RoundTripper
	n    *atomic.Int64
}

func (c countingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	c.n.Add(1)
	return c.next.RoundTrip(r)
}

// Objects of one kind and namespace are read with one request, before they are
// applied and while they are awaited. Each is applied with one request.
func TestObjectsOfOneKindAreListed(t *testing.T) {
	t.Parallel()
	const roles, others = 20, 700 // with the others, a list is too long
	api := kubetest.Start(t)
	var n atomic.Int64
	cfg := clientrest.CopyConfig(api.Config)
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return countingTransport{next, &n} })
	client, err := kube.FromConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.EnsureNamespace(t.Context(), "shop"); err != nil {
		t.Fatal(err)
	}
	role := func(name, verb string) string {
		return fmt.Sprintf("---\napiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: %s, namespace: shop}\nrules: [{apiGroups: ['*'], resources: [pods], verbs: [%s]}]\n", name, verb)
	}
	set := func(changed int) string {
		var b strings.Builder
		for i := range roles {
			verb := "get"
			if i < changed {
				verb = "list"
			}
			b.WriteString(role(fmt.Sprintf("r-%d", i), verb))
		}
		return b.String()
	}
	apply := func(changed int, want kube.Action, count, atMost int) {
		t.Helper()
		objs := decode(t, set(changed))
		n.Store(0)
		changes, err := client.Apply(t.Context(), objs, kube.ApplyOptions{Inventory: "shop"})
		if err == nil {
			err = client.Wait(t.Context(), objs)
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := changes.Count(want); got != count {
			t.Errorf("%d of %d are %s, want %d: %v", got, roles, want, count, changes)
		}
		if got := n.Load(); got > int64(atMost) {
			t.Errorf("%d requests for %d objects, want at most %d", got, roles, atMost)
		}
	}
	// Besides one for each object: discovery, the namespace, the inventory three times,
	// and two lists.
	apply(0, kube.Created, roles, roles+40)
	apply(0, kube.Unchanged, roles, roles+8)
	apply(3, kube.Configured, 3, roles+8)
	for i := range others {
		objs := decode(t, role(fmt.Sprintf("other-%d", i), "get"))
		if _, err := client.Apply(t.Context(), objs, kube.ApplyOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	apply(3, kube.Unchanged, roles, 3*roles+10)
}
