//go:build e2e

package kube_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/test/kubetest"
)

// A definition can change from conversion by a webhook to none, although the CA
// of the webhook belongs to another manager.
func conversionCanBeDropped(t *testing.T, cluster *kubetest.Cluster) {
	c := cluster.Client
	const converting = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gadgets.test.pai.dev}
spec:
  group: test.pai.dev
  names: {kind: Gadget, listKind: GadgetList, plural: gadgets, singular: gadget}
  scope: Cluster
  conversion:
    strategy: Webhook
    webhook: {clientConfig: {service: {name: s, namespace: default}}, conversionReviewVersions: [v1]}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}
`
	apply(t, c, converting, kube.ApplyOptions{})
	crds := c.Dynamic().Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	ca := base64.StdEncoding.EncodeToString(testCA(t))
	patch := fmt.Appendf(nil, `{"spec":{"conversion":{"webhook":{"clientConfig":{"caBundle":%q}}}}}`, ca)
	if _, err := crds.Patch(t.Context(), "gadgets.test.pai.dev", types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "rotator"}); err != nil {
		t.Fatal(err)
	}
	apply(t, c, converting, kube.ApplyOptions{})
	live, err := crds.Get(t.Context(), "gadgets.test.pai.dev", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got, _, _ := unstructured.NestedString(live.Object, "spec", "conversion", "webhook", "clientConfig", "caBundle"); got != ca {
		t.Errorf("Apply removed the CA that the program set: %q", got)
	}
	objs := decode(t, converting)
	if err := unstructured.SetNestedField(objs[0].Object, map[string]any{"strategy": "None"}, "spec", "conversion"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []kube.Action{kube.Configured, kube.Unchanged} {
		changes, err := c.Apply(t.Context(), objs, kube.ApplyOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if changes[0].Action != want {
			t.Errorf("application without conversion: %s, want %s", changes[0].Action, want)
		}
	}
}

func testCA(t *testing.T) []byte {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
