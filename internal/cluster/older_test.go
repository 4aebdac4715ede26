package cluster

import (
	"encoding/json"
	"os"
	"reflect"
	"testing"
)

// The records that commit c82e023 (v0.10) wrote on a machine are read, with every
// field.
func TestRecordsOfOlderProgramAreRead(t *testing.T) {
	t.Parallel()
	read := func(name string, into any) {
		t.Helper()
		data, err := os.ReadFile("../../test/older/testdata/made/" + name)
		if err == nil {
			err = json.Unmarshal(data, into)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var i installed
	read("installed.json", &i)
	want := installed{Kubernetes: "v0.9-pai", Upstream: "v1.35.4", Release: "v0.9", Bundle: "sha256:aa", Programs: map[string]string{"etcd": "v3.6.8"}, Images: map[string]string{"pause": "pai.local/pause:v1"}}
	if !reflect.DeepEqual(i, want) {
		t.Errorf("got %+v, want %+v", i, want)
	}
	var r record
	read("record.json", &r)
	if r != (record{ClusterID: "lab", Kubernetes: "v0.9-pai", Services: "v0.9"}) {
		t.Errorf("got %+v", r)
	}
}
