package source

import (
	"testing"

	"pai.dev/pai/internal/pai"
)

// A backup counts the jobs that had not ended, as a restore does from the same data.
func TestJobsThatHadNotEnded(t *testing.T) {
	t.Parallel()
	const labels = `"labels":{"` + pai.LabelJob + `":"a"}`
	const stopped = `"annotations":{"` + pai.AnnotationStopped + `":"2026-11-20T10:00:00Z"}`
	for _, c := range []struct {
		name, value string
		want        int
	}{
		{"waits", `{"metadata":{` + labels + `},"status":{"conditions":[{"type":"Suspended","status":"True"}]}}`, 1},
		{"runs", `{"metadata":{` + labels + `},"status":{"conditions":[{"type":"Suspended","status":"False"}]}}`, 1},
		{"succeeded", `{"metadata":{` + labels + `},"status":{"conditions":[{"type":"Completed","status":"True"}]}}`, 0},
		{"failed", `{"metadata":{` + labels + `},"status":{"conditions":[{"type":"Failed","status":"True"}]}}`, 0},
		{"stops", `{"metadata":{` + labels + `,` + stopped + `},"status":{}}`, 1},
		{"stopped", `{"metadata":{` + labels + `,` + stopped + `},"status":{"conditions":[{"type":"Suspended","status":"True"}]}}`, 0},
		{"of no user", `{"metadata":{},"status":{}}`, 0},
	} {
		got, err := unended(map[string][]byte{JobPrefixes()[0] + "default/a": []byte(c.value), "/registry/pods/" + pai.VirtualClusterNamespacePrefix + "default/a": []byte("k8s\x00x")})
		if err != nil || got != c.want {
			t.Errorf("%s: got %d, %v, want %d", c.name, got, err, c.want)
		}
	}
	if _, err := unended(map[string][]byte{JobPrefixes()[0] + "default/a": []byte("k8s\x00")}); err == nil {
		t.Error("an object that cannot be read is no job")
	}
}
