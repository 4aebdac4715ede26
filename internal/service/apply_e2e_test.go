//go:build e2e

package service

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/test/kubetest"
)

// newCA is the certificate authority that the test writes in place of the
// controllers.
func newCA(t *testing.T) string {
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
	return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// What the programs of a release write into the objects of its chart stays when
// this chart or the chart of the next release is applied.
func TestApplyKeepsInjectedCertificates(t *testing.T) {
	t.Parallel()
	client := kubetest.Start(t).Client
	for _, name := range []string{"kueue", "jobset"} {
		older, newer := chartObjects(t, name, 0), chartObjects(t, name, 1)
		apply(t, client, name, older)
		inject(t, client, older, newCA(t))
		before := injected(t, client, older)
		if len(before) == 0 {
			t.Fatalf("%s: got no place to inject, want some", name)
		}
		apply(t, client, name, older)
		same(t, name+" applied again", before, injected(t, client, older))
		apply(t, client, name, newer)
		after := injected(t, client, newer)
		for where, value := range after {
			if before[where] != "" && value != before[where] {
				t.Errorf("%s of the next release: got %s %q, want %q", name, where, value, before[where])
			}
		}
		apply(t, client, name, older) // as a rollback does
		apply(t, client, name, newer)
		apply(t, client, name, chartObjects(t, name, 2))
		apply(t, client, name, older) // as a rollback over two releases does
	}
}

func chartObjects(t *testing.T, name string, place int) []*unstructured.Unstructured {
	t.Helper()
	src := sources(t)[place]
	for _, pin := range src.manifest.ServiceList {
		if pin.Name != name {
			continue
		}
		objs, err := Render(t.Context(), oneService(t, src, name, moduleChart(t, pin)), testConfig(), src)
		if err != nil {
			t.Fatal(err)
		}
		var out []*unstructured.Unstructured
		for _, o := range objs {
			if o.GroupVersionKind().Group != "kueue.x-k8s.io" { // these need Kueue to run
				out = append(out, o)
			}
		}
		return out
	}
	t.Fatalf("release %s has no %s", src.manifest.Metadata.Name, name)
	return nil
}

func apply(t *testing.T, c *kube.Client, name string, objs []*unstructured.Unstructured) {
	t.Helper()
	if _, err := c.Apply(t.Context(), objs, kube.ApplyOptions{Inventory: "test-" + name}); err != nil {
		t.Fatalf("apply %s: %v", name, err)
	}
}

var injectable = map[string]schema.GroupVersionResource{
	"CustomResourceDefinition":       {Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"},
	"MutatingWebhookConfiguration":   {Group: "admissionregistration.k8s.io", Version: "v1", Resource: "mutatingwebhookconfigurations"},
	"ValidatingWebhookConfiguration": {Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingwebhookconfigurations"},
	"Secret":                         {Version: "v1", Resource: "secrets"},
}

// inject updates the objects like the certificate rotation of the controllers.
func inject(t *testing.T, c *kube.Client, objs []*unstructured.Unstructured, injectedCA string) {
	t.Helper()
	each(t, c, objs, func(ctx context.Context, obj *unstructured.Unstructured, update func(*unstructured.Unstructured)) {
		switch {
		case obj.GetKind() == "Secret":
			obj.Object["data"] = map[string]any{"ca.crt": injectedCA, "tls.crt": injectedCA, "tls.key": injectedCA}
		case isWebhookConfiguration(obj):
			webhooks, _, _ := unstructured.NestedSlice(obj.Object, "webhooks")
			for _, w := range webhooks {
				if err := unstructured.SetNestedField(w.(map[string]any), injectedCA, "clientConfig", "caBundle"); err != nil {
					t.Fatal(err)
				}
			}
			obj.Object["webhooks"] = webhooks
		default:
			if _, found, _ := unstructured.NestedMap(obj.Object, "spec", "conversion", "webhook"); !found {
				return
			}
			if err := unstructured.SetNestedField(obj.Object, injectedCA, "spec", "conversion", "webhook", "clientConfig", "caBundle"); err != nil {
				t.Fatal(err)
			}
		}
		update(obj)
	})
}

// injected reads back what inject wrote, by place.
func injected(t *testing.T, c *kube.Client, objs []*unstructured.Unstructured) map[string]string {
	t.Helper()
	found := map[string]string{}
	each(t, c, objs, func(_ context.Context, obj *unstructured.Unstructured, _ func(*unstructured.Unstructured)) {
		name := kube.RefOf(obj).String()
		switch {
		case obj.GetKind() == "Secret":
			data, _, _ := unstructured.NestedStringMap(obj.Object, "data")
			found[name] = data["tls.key"]
		case isWebhookConfiguration(obj):
			webhooks, _, _ := unstructured.NestedSlice(obj.Object, "webhooks")
			for _, w := range webhooks {
				ca, _, _ := unstructured.NestedString(w.(map[string]any), "clientConfig", "caBundle")
				found[name+" "+w.(map[string]any)["name"].(string)] = ca
			}
		default:
			if _, isWebhook, _ := unstructured.NestedMap(obj.Object, "spec", "conversion", "webhook"); isWebhook {
				found[name], _, _ = unstructured.NestedString(obj.Object, "spec", "conversion", "webhook", "clientConfig", "caBundle")
			}
		}
	})
	return found
}

func each(t *testing.T, c *kube.Client, objs []*unstructured.Unstructured,
	do func(ctx context.Context, obj *unstructured.Unstructured, update func(*unstructured.Unstructured))) {
	t.Helper()
	for _, o := range objs {
		gvr, ok := injectable[o.GetKind()]
		if !ok {
			continue
		}
		resource := c.Dynamic().Resource(gvr)
		live, err := resource.Namespace(o.GetNamespace()).Get(t.Context(), o.GetName(), metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		do(t.Context(), live, func(changed *unstructured.Unstructured) {
			if _, err := resource.Namespace(o.GetNamespace()).Update(t.Context(), changed, metav1.UpdateOptions{FieldManager: "manager"}); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func same(t *testing.T, when string, before, after map[string]string) {
	t.Helper()
	for where, value := range before {
		if after[where] != value {
			t.Errorf("%s: got %s %q, want %q", when, where, after[where], value)
		}
	}
}

// Applying the chart, whose Secret has no content, keeps the certificate.
func TestWebhookCertificateIsCreatedOnce(t *testing.T) {
	t.Parallel()
	client := kubetest.Start(t).Client
	w := &WebhookCertificate{Secret: "kueue-webhook-server-cert", Service: "kueue-webhook-service", Authority: "kueue-ca"}
	read := func() map[string][]byte {
		t.Helper()
		s, err := client.Clientset().CoreV1().Secrets("pai-system").Get(t.Context(), w.Secret, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return s.Data
	}
	if err := w.ensure(t.Context(), client, time.Now()); err != nil {
		t.Fatal(err)
	}
	first := read()
	apply(t, client, "kueue", chartObjects(t, "kueue", 0))
	if err := w.ensure(t.Context(), client, time.Now()); err != nil {
		t.Fatal(err)
	}
	if again := read(); len(first) != 4 || string(again["tls.crt"]) != string(first["tls.crt"]) || len(again) != 4 {
		t.Errorf("got a Secret that changed, with %d entries, want the first one with %d", len(again), len(first))
	}
}

func TestEmptyWebhookSecretIsFilled(t *testing.T) {
	t.Parallel()
	client := kubetest.Start(t).Client
	w := &WebhookCertificate{Secret: "kueue-webhook-server-cert", Service: "kueue-webhook-service", Authority: "kueue-ca"}
	apply(t, client, "kueue", chartObjects(t, "kueue", 0))
	if err := w.ensure(t.Context(), client, time.Now()); err != nil {
		t.Fatal(err)
	}
	s, err := client.Clientset().CoreV1().Secrets("pai-system").Get(t.Context(), w.Secret, metav1.GetOptions{})
	if err != nil || len(s.Data) != 4 {
		t.Errorf("got %d entries (%v), want 4", len(s.Data), err)
	}
}
