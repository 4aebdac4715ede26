//go:build e2e || live

package witness_test

import (
	"testing"

	"pai.dev/pai/internal/pai"
)

// namespace is where these tests put their jobs.
const namespace = pai.VirtualClusterNamespacePrefix + "witness-test"

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
