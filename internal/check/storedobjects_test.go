package check

import (
	"errors"
	"strconv"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"
)

// After the stop of a service, nothing converts its objects. They are validated as they
// are stored then; any other failure leaves them unknown.
func TestStoredObjectsWithoutTheirConversion(t *testing.T) {
	t.Parallel()
	versions := func(stored string) string {
		text := `{group: example.com, names: {plural: cars, kind: Car}, versions: [`
		for _, v := range []string{"v1beta1", "v1"} {
			text += `{name: ` + v + `, served: true, storage: ` + strconv.FormatBool(v == stored) + `, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, required: [wheels]}}}}},`
		}
		return `{metadata: {name: cars.example.com}, spec: ` + text + `]}}`
	}
	change := definitionChange{definition(t, versions("v1beta1")), definition(t, versions("v1"))}
	car := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "example.com/v1beta1", "kind": "Car", "metadata": map[string]any{"namespace": "a", "name": "b"}, "spec": map[string]any{}}}
	list := func(failure error, in string) (int, []Result, error) {
		client := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{
			{Group: "example.com", Version: "v1beta1", Resource: "cars"}: "CarList", {Group: "example.com", Version: "v1", Resource: "cars"}: "CarList"}, car)
		client.PrependReactor("list", "cars", func(a clienttesting.Action) (bool, runtime.Object, error) {
			return in == "" || a.GetResource().Version == in, nil, failure
		})
		return validateStored(t.Context(), dynamicClient{client: client}, change)
	}
	stopped := apierrors.NewInternalError(errors.New(`conversion webhook for example.com/v1beta1, Kind=Car failed: Post "https://x": service "cars-webhook" not found`))
	if n, found, err := list(stopped, "v1"); n != 1 || len(found) != 1 || found[0].Outcome != Failed || err != nil {
		t.Errorf("got %d, %v, %v, want the object that is invalid in its stored version", n, found, err)
	}
	if _, _, err := list(stopped, ""); err == nil {
		t.Error("got no error for objects that no version shows")
	}
	if _, _, err := list(errTest, "v1"); !errors.Is(err, errTest) {
		t.Errorf("got %v, want the error", err)
	}
}
