package check

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"
	"sigs.k8s.io/yaml"
)

func definition(t *testing.T, text string) apiextensions.CustomResourceDefinition {
	t.Helper()
	var d apiextensions.CustomResourceDefinition
	if err := yaml.UnmarshalStrict([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

const carVersion = `
spec:
  group: example.com
  names: {plural: cars, kind: Car}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [wheels, color]
            properties:
              wheels: {type: integer, maximum: 4}
              color: {type: string, default: grey}
              parts: {type: array, x-kubernetes-list-type: set, items: {type: string}}
            x-kubernetes-validations:
            - {rule: "self.wheels != 3", message: "three wheels tip over"}
`

func TestValidatorMatchesAPIServer(t *testing.T) {
	t.Parallel()
	v, err := newValidator(definition(t, carVersion), "v1")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ spec, problem string }{
		{`{wheels: 4, color: red}`, ""},
		{`{wheels: 4}`, ""},                               // the default is set
		{`{wheels: 4, wings: 2}`, ""},                     // unknown fields are pruned
		{`{wheels: 4, color: null}`, ""},                  // null is like a missing field
		{`{color: red}`, "wheels"},                        // required
		{`{wheels: 5}`, "less than or equal to 4"},        // out of range
		{`{wheels: four}`, "integer"},                     // of another type
		{`{wheels: 3}`, "three wheels tip over"},          // by a rule
		{`{wheels: 4, parts: [door, door]}`, "Duplicate"}, // by the list type
	} {
		o := &unstructured.Unstructured{}
		data, err := yaml.YAMLToJSON([]byte(`{apiVersion: example.com/v1, kind: Car, metadata: {name: a}, spec: ` + c.spec + `}`))
		if err == nil {
			err = o.UnmarshalJSON(data) // whole numbers are integers, as they come from the API
		}
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(v.validate(t.Context(), o), "; ")
		if (c.problem == "") != (got == "") || !strings.Contains(got, c.problem) {
			t.Errorf("%s: got %q, want %q", c.spec, got, c.problem)
		}
	}
	if _, err := newValidator(definition(t, carVersion), "v2"); err == nil {
		t.Error("got a validator for a version that does not exist")
	}
}

func TestCommonVersionOfDefinitions(t *testing.T) {
	t.Parallel()
	of := func(now, next string) string {
		v, err := commonVersion(definitionChange{definition(t, `{spec: {versions: `+now+`}}`), definition(t, `{spec: {versions: `+next+`}}`)})
		if err != nil {
			return "none"
		}
		return v
	}
	const both = `[{name: v1beta1, served: true}, {name: v1, served: true, storage: true}]`
	for _, c := range []struct{ name, now, next, want string }{
		{"new storage version", both, both, "v1"},
		{"new storage version missing now", `[{name: v1beta1, served: true}]`, both, "v1beta1"},
		{"new storage version not served now", `[{name: v1beta1, served: true}, {name: v1, served: false}]`, both, "v1beta1"},
		{"nothing in common", `[{name: v1alpha1, served: true}]`, both, "none"},
	} {
		if got := of(c.now, c.next); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

func TestRequestsOfRemovedAPIs(t *testing.T) {
	t.Parallel()
	const metrics = `# TYPE apiserver_requested_deprecated_apis gauge
apiserver_requested_deprecated_apis{group="resource.k8s.io",removed_release="1.36",resource="resourceslices",subresource="",version="v1beta1"} 1
apiserver_requested_deprecated_apis{group="networking.k8s.io",removed_release="1.37",resource="ipaddresses",subresource="",version="v1beta1"} 1
apiserver_requested_deprecated_apis{group="",removed_release="",resource="endpoints",subresource="",version="v1"} 1
apiserver_requested_deprecated_apis{group="x.k8s.io",removed_release="soon",resource="things",subresource="",version="v1"} 1
apiserver_request_total{removed_release="1.30"} 1
`
	for minor, want := range map[int]string{35: "unknown things.v1.x.k8s.io",
		36: "failed resourceslices.v1beta1.resource.k8s.io, unknown things.v1.x.k8s.io",
		37: "failed resourceslices.v1beta1.resource.k8s.io, failed ipaddresses.v1beta1.networking.k8s.io, unknown things.v1.x.k8s.io"} {
		found, err := requestedRemoved(strings.NewReader(metrics), minor)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range found {
			got = append(got, string(r.Outcome)+" "+r.Target)
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("upgrade to 1.%d: got %q, want %q", minor, got, want)
		}
	}
}

func TestFirstSuccessOfParallelCalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int32
		got, err := firstSuccess(t.Context(), time.Millisecond, func(ctx context.Context) (string, error) {
			switch calls.Add(1) {
			case 1:
				<-ctx.Done() // until another call succeeds
				return "", ctx.Err()
			case 2:
				return "", errTest
			default:
				return "response", nil
			}
		})
		if got != "response" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if _, err := firstSuccess(ctx, time.Millisecond, func(context.Context) (int, error) { return 0, errTest }); !errors.Is(err, errTest) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

func TestRemovalsOfKubernetesTypes(t *testing.T) {
	t.Parallel()
	find := func(after, upTo int, kind string) (removal, bool) {
		for _, r := range removals(after, upTo) {
			if r.Removed.Kind == kind && r.Removed.Version == "v1beta1" {
				return r, true
			}
		}
		return removal{}, false
	}
	r, there := find(36, 37, "ServiceCIDR")
	if want := (schema.GroupVersionKind{Group: "networking.k8s.io", Version: "v1", Kind: "ServiceCIDR"}); !there || r.Stays != want || r.In != 37 {
		t.Errorf("got %+v, %t: 1.37 removes networking.k8s.io/v1beta1 ServiceCIDR, and v1 stays", r, there)
	}
	for _, span := range [][2]int{{35, 36}, {37, 38}} {
		if _, there := find(span[0], span[1], "ServiceCIDR"); there {
			t.Errorf("got a removal of ServiceCIDR between 1.%d and 1.%d", span[0], span[1])
		}
	}
}

type dynamicClient struct {
	apiClient
	client dynamic.Interface
}

func (d dynamicClient) Dynamic() dynamic.Interface { return d.client }

func TestObjectsThatCannotBeReadAfterwards(t *testing.T) {
	t.Parallel()
	for span, want := range map[[2]int]int{{35, 36}: 0, {36, 37}: 2, {35, 37}: 2, {37, 38}: 0} {
		if got := goneBetween(span[0], span[1]); len(got) != want {
			t.Errorf("1.%d to 1.%d: got %v, want %d APIs", span[0], span[1], got, want)
		}
	}
	kinds := map[schema.GroupVersionResource]string{gones[0].resource: "WorkloadList"}
	workload := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "scheduling.k8s.io/v1alpha2", "kind": "Workload",
		"metadata": map[string]any{"namespace": "team", "name": "gang"}}}
	client := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), kinds, workload)
	find := func() Result { return only(objectsOf(t.Context(), dynamicClient{client: client}, gones[0])) }
	expect(t, []expectation{{"an object", find(), Failed, "1.37 cannot read objects of scheduling.k8s.io/v1alpha2"}})
	if got := find().Target; got != "team/gang (Workload)" {
		t.Errorf("got target %q", got)
	}
	for _, c := range []struct {
		err  error
		want Outcome
	}{{apierrors.NewNotFound(gones[0].resource.GroupResource(), ""), ""}, {errTest, Unknown}} {
		client.PrependReactor("list", "workloads", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, c.err })
		found, err := objectsOf(t.Context(), dynamicClient{client: client}, gones[0])
		if len(found) > 0 || (err != nil) != (c.want == Unknown) {
			t.Errorf("%v: got %v, %v", c.err, found, err)
		}
	}
}

func TestObjectsWrittenAsRemovedVersion(t *testing.T) {
	t.Parallel()
	r := removal{Removed: schema.GroupVersionKind{Group: "example.com", Version: "v1beta1", Kind: "Car"}, Stays: schema.GroupVersionKind{Group: "example.com", Version: "v1", Kind: "Car"}, In: 37}
	of := func(text string) []Result {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
			t.Fatal(err)
		}
		return writtenBy(o, r)
	}
	expect(t, []expectation{
		{"applied from a file", of(`{metadata: {name: a, annotations: {kubectl.kubernetes.io/last-applied-configuration: '{"apiVersion":"example.com/v1beta1"}'}}}`)[0], Failed, "which Kubernetes 1.37 removes"},
		{"written by a client", of(`{metadata: {name: a, managedFields: [{manager: robot, apiVersion: example.com/v1beta1}]}}`)[0], Warning, "written by robot"},
	})
	if got := of(`{metadata: {name: a, managedFields: [{manager: robot, apiVersion: example.com/v1}]}}`); len(got) != 0 {
		t.Errorf("got %+v", got)
	}
}
