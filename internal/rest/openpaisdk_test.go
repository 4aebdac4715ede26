//go:build openpaisdk

package rest

import (
	"encoding/pem"
	"testing"

	"pai.dev/pai/internal/identity"
)

// OpenPAI's suite passes against the REST server over a cluster in memory.
func TestOpenPAISuite(t *testing.T) {
	w := newWhole(t, identity.Policy{}, "default")
	token := w.user(t, "sdk_test", true)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.server.Certificate().Raw})
	runOpenPAISuite(t, w.url, "sdk_test", "secret-sdk_test", token, ca)
}
