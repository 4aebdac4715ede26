//go:build e2e

package check

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/test/kubetest"
)

const someObjects = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: default, namespace: default}
---
apiVersion: v1
kind: Pod
metadata: {name: bare, namespace: default}
spec:
  containers: [{name: c, image: "pai.local/pause:v1"}]
---
apiVersion: v1
kind: Service
metadata: {name: hooks, namespace: default}
spec: {selector: {app: hooks}, ports: [{port: 443}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: hooks-1, namespace: default, labels: {kubernetes.io/service-name: hooks}}
addressType: IPv4
ports: [{name: "", port: 443}]
endpoints:
- {addresses: [10.1.0.1], conditions: {ready: true}}
- {addresses: [10.1.0.2], conditions: {ready: false}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: three}
webhooks:
- {name: one.example.com, admissionReviewVersions: [v1], sideEffects: None, clientConfig: {service: {namespace: default, name: hooks}}}
- {name: two.example.com, admissionReviewVersions: [v1], sideEffects: None, clientConfig: {service: {namespace: default, name: missing}}}
- {name: open.example.com, admissionReviewVersions: [v1], sideEffects: None, failurePolicy: Ignore, clientConfig: {service: {namespace: default, name: missing}}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: cars.example.com}
` + carVersion + `  names: {plural: cars, singular: car, kind: Car, listKind: CarList}
  scope: Namespaced
---
apiVersion: example.com/v1
kind: Car
metadata: {name: old, namespace: default}
spec: {wheels: 4, color: red}
---
apiVersion: example.com/v1
kind: Car
metadata: {name: older, namespace: default}
spec: {wheels: 2}
`

// TestChecksOfRealAPI reads a real API server with real objects, to verify the form
// of the inputs in the tables.
func TestChecksOfRealAPI(t *testing.T) {
	c := kubetest.Start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	// carVersion names only plural and kind, as a chart can.
	text := strings.Replace(someObjects, "  names: {plural: cars, kind: Car}\n", "", 1)
	objects, err := kube.Decode([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Client.Apply(ctx, objects, kube.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	in := unobservable()
	in.World.APIReachable, in.World.Current, in.Releases, in.Target = true, pai.Pair{Kubernetes: "v0.9-pai"}, twoReleases(), twoReleases()[1]
	in.World.Services = map[string]plan.Installed{"kueue": {Message: "not ready"}}
	in.Kube = func(context.Context) (*kube.Client, error) { return c.Client, nil }
	w := newWorld(ctx, in)

	results := func(id string) []Result {
		all := All()
		return runOne(ctx, all[slices.IndexFunc(all, func(c Check) bool { return c.ID == id })], w, timeout)
	}
	want := func(id string, outcome Outcome, target, found string) {
		t.Helper()
		all := results(id)
		if !slices.ContainsFunc(all, func(r Result) bool {
			return r.Outcome == outcome && r.Target == target && strings.Contains(r.Found, found)
		}) {
			t.Errorf("check %s: got %+v, want %s %q with %q", id, all, outcome, target, found)
		}
	}
	want("control-plane", OK, "", "parts of the API server are ready")
	want("pod-owners", Warning, "default/bare", "no controller")
	want("webhooks", Warning, "ValidatingWebhookConfiguration/three", "service default/hooks, which has one ready pod")
	want("webhooks", Failed, "ValidatingWebhookConfiguration/three", "service default/missing, which does not exist")
	want("service-ready", Failed, "kueue", "not ready")
	want("service-ready", Failed, "cluster-dns", "CoreDNS not found")
	want("deprecated-apis", OK, "", "Kubernetes 1.36.3 removes")

	// The target forbids a stored color, and later removes the version.
	definitions, err := w.api.definitions.get(ctx)
	if err != nil {
		t.Fatal(err)
	}
	now := definitions["cars.example.com"]
	next := *now.DeepCopy()
	spec := next.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
	color := spec.Properties["color"]
	color.Enum = []apiextensions.JSON{{Raw: []byte(`"grey"`)}}
	spec.Properties["color"] = color
	w.target = observe(ctx, func(context.Context) (targetObjects, error) {
		return targetObjects{Definitions: []apiextensions.CustomResourceDefinition{next}}, nil
	})
	found := results("stored-objects")
	want("stored-objects", Failed, "Car/default/old", "color")
	if len(found) != 1 {
		t.Errorf("got %+v, want only the red car", found)
	}
	want("stored-versions", OK, "", "every stored version")
	next.Spec.Versions[0].Name = "v2"
	w.target = observe(ctx, func(context.Context) (targetObjects, error) {
		return targetObjects{Definitions: []apiextensions.CustomResourceDefinition{next}}, nil
	})
	want("stored-versions", Failed, "cars.example.com", "no version is in both definitions")
	want("stored-objects", Unknown, "cars.example.com", "no version in common")

	c.StopAPIServer()
	w = newWorld(ctx, in)
	for _, r := range append(results("control-plane"), results("webhooks")...) {
		if !r.Bad() {
			t.Errorf("got %+v without an API, want a bad result", r)
		}
	}
}
