package deptest

import (
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func TestImportsPointDown(t *testing.T) {
	root := os.DirFS("../..")
	if _, err := root.Open("go.mod"); err != nil {
		t.Fatal(err)
	}
	problems, err := Check(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Error(p)
	}
}

func TestNamesOfAMachineStandOnce(t *testing.T) {
	problems, err := CheckLiterals(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Error(p)
	}
	for file := range ownNames() {
		if _, err := os.Stat("../../" + file); err != nil {
			t.Errorf("an exception is out of date: %v", err)
		}
	}
}

func TestCheckLiteralsFindsNames(t *testing.T) {
	for _, c := range []struct{ file, expression, found string }{
		{"internal/kube/a.go", `"/opt/pai/role"`, "/opt/pai"},
		{"internal/kube/a.go", "`ls /etc/kubernetes/pki`", "/etc/kubernetes"},
		{"internal/kube/a.go", `"http://127.0.0.1:2381/metrics"`, "port 2381"},
		{"cmd/paictl/a.go", "10257", "port 10257"},
		{"internal/kube/a.go", `"/opt/pairing"`, ""},
		{"internal/kube/a.go", `"github.com/x/var/lib/pair"`, ""},
		{"internal/kube/a.go", "123810", ""},
		{"internal/layout/a.go", "2381", ""},
		{"internal/kube/a_test.go", "2381", ""},
	} {
		problems, err := CheckLiterals(fstest.MapFS{c.file: {Data: []byte("package a\n\nvar x = " + c.expression + "\n")}})
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(problems, "\n")
		if (c.found == "") != (got == "") || !strings.Contains(got, c.found) {
			t.Errorf("%s in %s: got %q, want %q", c.expression, c.file, got, c.found)
		}
	}
}

func TestCheckFindsWhatIsWrong(t *testing.T) {
	for _, c := range []struct{ file, imported, rule string }{
		{"internal/kube/a.go", "pai.dev/pai/internal/cluster", "cluster is above kube"},
		{"internal/kube/sub/a.go", "pai.dev/pai/internal/cli", "cli is above kube"},
		{"internal/cluster/a.go", "pai.dev/pai/internal/kube", ""},
		{"internal/guard/a.go", "pai.dev/pai/internal/guard/witness", ""},
		{"internal/plan/a.go", "time", "package plan is pure"},
		{"internal/plan/a.go", "os", "package plan is pure"},
		{"internal/plan/a.go", "k8s.io/api/core/v1", "package plan is pure"},
		{"internal/plan/a.go", "pai.dev/pai/internal/machine", "package plan is pure"},
		{"internal/plan/a.go", "pai.dev/pai/internal/release", ""},
		{"internal/plan/a_test.go", "os", ""},
		{"internal/pai/a.go", "k8s.io/api/core/v1", "standard library only"},
		{"internal/pai/a.go", "time", ""},
		{"internal/pai/a.go", "pai.dev/pai/internal/plan", "standard library only"},
		{"internal/layout/a.go", "pai.dev/pai/internal/pai", "standard library only"},
		{"internal/plan/a.go", "pai.dev/pai/internal/layout", ""},
		{"internal/other/a.go", "fmt", "no place"},
		{"internal/cli/a.go", "pai.dev/pai/internal/other", "no place"},
		{"internal/cli/a.go", "pai.dev/pai/cmd/paictl", "programs are not imported"},
		{"releases/a.go", "pai.dev/pai/internal/pai", "is data"},
		{"internal/cluster/a.go", "go.etcd.io/etcd/client/v3", "only package etcd asks etcd"},
		{"cmd/paictl/main.go", "go.etcd.io/etcd/client/v3", "only package etcd asks etcd"},
		{"internal/etcd/a.go", "go.etcd.io/etcd/client/v3", ""},
		{"cmd/paictl/main.go", "pai.dev/pai/internal/cli", ""},
		{"internal/kube/testdata/a.go", "pai.dev/pai/internal/cli", ""},
		{"components/etcd/main.go", "pai.dev/pai/internal/cli", ""}, // another module
	} {
		tree := fstest.MapFS{
			"components/etcd/go.mod": {Data: []byte("module x\n")},
			c.file:                   {Data: []byte("package a\n\nimport _ \"" + c.imported + "\"\n")},
		}
		problems, err := Check(tree)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(problems, "\n")
		if (c.rule == "") != (got == "") || !strings.Contains(got, c.rule) || (got != "" && !strings.Contains(got, c.file)) {
			t.Errorf("%s imports %s: got %q, want %q", c.file, c.imported, got, c.rule)
		}
	}
}

// The table of packages in docs/architecture.md names the layers in their order.
func TestArchitectureNamesEveryLayer(t *testing.T) {
	data, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	var named []string
	for row := range strings.Lines(string(data)) {
		cells := strings.Split(row, "|")
		if len(cells) != 4 {
			continue
		}
		for i, text := range strings.Split(cells[1], "`") {
			if name := path.Base(text); i%2 == 1 && slices.Contains(layers(), name) && !strings.HasPrefix(text, "cmd/") && !slices.Contains(named, name) {
				named = append(named, name)
			}
		}
	}
	if !slices.Equal(named, layers()) {
		t.Errorf("docs/architecture.md has the packages\n%v, want\n%v", named, layers())
	}
}
