package deptest

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

func TestOnlyKubeWritesToTheCluster(t *testing.T) {
	for dir, tree := range map[string]string{"": "../..", network: "../../" + network} {
		problems, err := CheckWrites(os.DirFS(tree), dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			t.Error(p)
		}
	}
	for file := range ownWrites() {
		if _, err := os.Stat("../../" + file); err != nil {
			t.Errorf("an exception is out of date: %v", err)
		}
	}
}

func TestCheckWritesFindsWrites(t *testing.T) {
	const meta, policy = "metav1 \"k8s.io/apimachinery/pkg/apis/meta/v1\"", "\"k8s.io/api/policy/v1\""
	for _, c := range []struct{ file, imported, code, found string }{
		{"internal/cluster/a.go", meta, "nodes.Patch(ctx, name, kind, data, metav1.PatchOptions{})", "metav1.PatchOptions"},
		{"internal/cluster/a.go", meta, "pods.Delete(ctx, name, metav1.DeleteOptions{})", "metav1.DeleteOptions"},
		{"internal/cluster/a.go", meta, "pods.List(ctx, metav1.ListOptions{})", ""},
		{"internal/cluster/a.go", policy, "evict(&v1.Eviction{})", "v1.Eviction"},
		{"internal/guard/a.go", meta, "core.RESTClient().Post().Do(ctx)", "RESTClient().Post"},
		{"internal/guard/a.go", meta, "core.RESTClient().Get().Do(ctx)", ""},
		{"internal/kube/a.go", meta, "nodes.Patch(ctx, name, kind, data, metav1.PatchOptions{})", ""},
		{"internal/certs/a.go", `"net/http"`, `do(ctx, http.MethodPut, "/apis/certificates.k8s.io/v1/x")`, "http.MethodPut"},
		{"internal/certs/a.go", `"net/http"`, `do(ctx, http.MethodGet, "/apis/certificates.k8s.io/v1/x")`, ""},
		{"internal/rest/a.go", `"net/http"`, `do(ctx, http.MethodPut, "/api/v2/jobs")`, ""},
		{"internal/cluster/a.go", `"fmt"`, "run(`\"$dir/kubectl\" --kubeconfig x delete y`)", "kubectl"},
		{"internal/cluster/a_test.go", meta, "nodes.Patch(ctx, name, kind, data, metav1.PatchOptions{})", ""},
	} {
		source := "package a\n\nimport " + c.imported + "\n\nfunc f() { " + c.code + " }\n"
		problems, err := CheckWrites(fstest.MapFS{c.file: {Data: []byte(source)}}, "")
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(problems, "\n")
		if (c.found == "") != (got == "") || !strings.Contains(got, c.found) {
			t.Errorf("%s in %s: got %q, want %q", c.code, c.file, got, c.found)
		}
	}
}
