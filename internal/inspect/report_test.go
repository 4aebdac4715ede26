package inspect_test

import (
	"reflect"
	"slices"
	"testing"

	"pai.dev/pai/internal/inspect"
)

// A field of a request that is not named here is one that changes something: the request
// needs the lock.
func TestOnlyNamedFieldsObserve(t *testing.T) {
	t.Parallel()
	observing := []string{"Token", "Parts", "Only", "Programs", "Ports", "Age", "Operator", "PublicKey"}
	if !(inspect.Request{}).Observes() {
		t.Error("an empty request needs the lock")
	}
	for field := range reflect.TypeFor[inspect.Request]().Fields() {
		var r inspect.Request
		switch v := reflect.ValueOf(&r).Elem().FieldByIndex(field.Index); v.Kind() {
		case reflect.String:
			v.SetString("x")
		case reflect.Bool:
			v.SetBool(true)
		case reflect.Int64:
			v.SetInt(1)
		case reflect.Pointer:
			v.Set(reflect.New(v.Type().Elem()))
		case reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		default:
			t.Fatalf("set a value of %s, a %s", field.Name, v.Kind())
		}
		if got := r.Observes(); got != slices.Contains(observing, field.Name) {
			t.Errorf("a request with %s observes only: %v", field.Name, got)
		}
	}
}
