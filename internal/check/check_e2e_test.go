//go:build e2e

package check

import (
	"context"
	"strings"
	"testing"
	"time"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/kube/kubetest"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
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
metadata: {name: guard, namespace: default}
spec: {selector: {app: guard}, ports: [{port: 443}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: guard-1, namespace: default, labels: {kubernetes.io/service-name: guard}}
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
- {name: one.example.com, admissionReviewVersions: [v1], sideEffects: None, clientConfig: {service: {namespace: default, name: guard}}}
- {name: two.example.com, admissionReviewVersions: [v1], sideEffects: None, clientConfig: {service: {namespace: default, name: nobody}}}
- {name: open.example.com, admissionReviewVersions: [v1], sideEffects: None, failurePolicy: Ignore, clientConfig: {service: {namespace: default, name: nobody}}}
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
spec: {wheels: 4, colour: red}
---
apiVersion: example.com/v1
kind: Car
metadata: {name: older, namespace: default}
spec: {wheels: 2}
`

// TestAgainstTheAPI reads a real API server with real objects: what the tables
// judge has to come from there in that form.
func TestAgainstTheAPI(t *testing.T) {
	c := kubetest.Start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	// carVersion names plural and kind alone, as a chart may.
	text := strings.Replace(someObjects, "  names: {plural: cars, kind: Car}\n", "", 1)
	objects, err := kube.Decode([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Client.Apply(ctx, objects, kube.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	in := blind()
	in.World.APIReachable, in.World.Current, in.Releases, in.Target = true, pai.Pair{Kubernetes: "v0.9-pai"}, twoReleases(), twoReleases()[1]
	in.World.Services = map[string]plan.Installed{"kueue": {Message: "not yet"}}
	in.Kube = func(context.Context) (*kube.Client, error) { return c.Client, nil }
	w := newWorld(ctx, in)

	want := func(results []Result, outcome Outcome, target, found string) {
		t.Helper()
		for _, r := range results {
			if r.Outcome == outcome && r.Target == target && strings.Contains(r.Found, found) {
				return
			}
		}
		t.Errorf("%s %q with %q is not among %+v", outcome, target, found, results)
	}
	want(controlPlane(ctx, w), OK, "", "parts of the API server are ready")
	want(podOwners(ctx, w), Warning, "default/bare", "no controller")
	want(webhooks(ctx, w), Warning, "ValidatingWebhookConfiguration/three", "service default/guard, behind which one pod is ready")
	want(webhooks(ctx, w), Failed, "ValidatingWebhookConfiguration/three", "service default/nobody, which does not exist")
	want(servicesReady(ctx, w), Failed, "kueue", "not yet")
	want(servicesReady(ctx, w), Failed, "cluster-dns", "CoreDNS is not there")
	want(deprecatedAPIs(ctx, w), OK, "", "1.36.3 no longer has")

	// The target takes colours away that are stored, and the version as well.
	definitions, err := w.api.definitions.get(ctx)
	if err != nil {
		t.Fatal(err)
	}
	now := definitions["cars.example.com"]
	next := *now.DeepCopy()
	spec := next.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
	colour := spec.Properties["colour"]
	colour.Enum = []apiextensions.JSON{{Raw: []byte(`"grey"`)}}
	spec.Properties["colour"] = colour
	w.targets = observe(ctx, func(context.Context) (targetObjects, error) {
		return targetObjects{Definitions: []apiextensions.CustomResourceDefinition{next}}, nil
	})
	found := storedObjects(ctx, w)
	want(found, Failed, "Car/default/old", "colour")
	if len(found) != 1 {
		t.Errorf("found %+v, want the red car alone", found)
	}
	want(storedVersions(ctx, w), OK, "", "every stored version")
	next.Spec.Versions[0].Name = "v2"
	w.targets = observe(ctx, func(context.Context) (targetObjects, error) {
		return targetObjects{Definitions: []apiextensions.CustomResourceDefinition{next}}, nil
	})
	want(storedVersions(ctx, w), Failed, "cars.example.com", "stored as v1")
	want(storedObjects(ctx, w), Unknown, "cars.example.com", "no version in common")

	c.StopAPIServer()
	w = newWorld(ctx, in)
	for _, r := range append(controlPlane(ctx, w), webhooks(ctx, w)...) {
		if !r.Bad() {
			t.Errorf("the API is away, and yet %+v", r)
		}
	}
}
