package deptest

import (
	"os"
	"slices"
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
}

// Each exception is a file in which the check finds something.
func TestExceptionsWriteToTheCluster(t *testing.T) {
	var found []string
	for dir, tree := range map[string]string{"": "../..", network: "../../" + network} {
		problems, err := checkWrites(os.DirFS(tree), dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, problems...)
	}
	for file := range ownWrites() {
		if !slices.ContainsFunc(found, func(problem string) bool { return strings.HasPrefix(problem, file+":") }) {
			t.Errorf("the exception for %s is out of date", file)
		}
	}
	for _, problem := range found {
		t.Log(problem)
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
		{"internal/cluster/a.go", `"fmt"`, `run(layout.Program(v, "kubectl"), "delete")`, "kubectl"},
		{"internal/cluster/a.go", `"fmt"`, `replace("%KUBECTL%", x)`, "kubectl"},
		{"internal/cluster/a.go", `"fmt"`, `run(layout.Program(v, "kubeadm") + " token create")`, "kubeadm"},
		{"internal/cluster/a.go", `"fmt"`, "run(`\"$kubeadm\" init phase upload-config all`)", "kubeadm"},
		{"internal/cluster/a.go", `"fmt"`, "run(`\"$kubeadm\" init phase certs all; \"$kubeadm\" token create`)", "kubeadm"},
		{"internal/cluster/a.go", `"fmt"`, "run(`\"$kubeadm\" init phase certs all --config x`)", ""},
		{"internal/cluster/a.go", `"fmt"`, "run(`\"$kubeadm\" init phase %s --config x --dry-run >log`)", ""},
		{"internal/check/a.go", `"fmt"`, `advise("repair it with kubectl, or run: kubectl uncordon m1")`, ""},
		{"internal/layout/a.go", `"fmt"`, `list("bin/kubectl", "bin/kubeadm")`, ""},
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

func TestCheckWritesFindsWritesInScripts(t *testing.T) {
	for _, c := range []struct{ file, script, found string }{
		{"internal/cluster/scripts/a.sh", `%KUBECTL% --kubeconfig=x delete node y`, "a.sh:2 uses kubectl"},
		{"cmd/pai-machine/a.sh", `"$bin/kubectl" apply -f -`, "a.sh:2 uses kubectl"},
		{network + "/a.sh", "kubeadm token create", "a.sh:2 uses kubeadm"},
		{"internal/cluster/scripts/a.sh", `%KUBEADM% --kubeconfig x token create`, "a.sh:2 uses kubeadm"},
		{"internal/cluster/scripts/a.sh", "curl -X DELETE https://api.pai.internal:6443/api/v1/nodes/x", "a.sh:2 uses curl"},
		{"internal/cluster/scripts/a", "kubectl get nodes", "a:2 uses kubectl"},
		{"internal/cluster/scripts/a.sh", "# as kubectl does\necho kubelet", ""},
		{"internal/cluster/scripts/a.sh", "kubeadm config print init-defaults", ""},
		{"internal/cluster/testdata/a.sh", "kubectl delete node y", ""},
		{"internal/cli/help/a.txt", "kubectl get nodes", ""},
		{"hack/a.sh", "kubectl delete node y", ""},
	} {
		first := "#!/bin/sh\n"
		if strings.HasSuffix(c.file, ".txt") {
			first = "\n"
		}
		problems, err := CheckWrites(fstest.MapFS{c.file: {Data: []byte(first + c.script + "\n")}}, "")
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(problems, "\n")
		if (c.found == "") != (got == "") || !strings.Contains(got, c.found) {
			t.Errorf("%s in %s: got %q, want %q", c.script, c.file, got, c.found)
		}
	}
}
