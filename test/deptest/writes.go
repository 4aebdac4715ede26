package deptest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// network is the module of the program that keeps the network of pods.
const network = "components/network"

// ownWrites lists the files outside package kube that may write to the
// cluster, each with the reason.
func ownWrites() map[string]string {
	return map[string]string{
		"internal/certs/api.go":            "it sends the requests of the next three",
		"internal/certs/approve.go":        "the helper on the control-plane machine approves requests of kubelets without paictl, as a user that can do nothing else",
		"internal/certs/request.go":        "a machine asks for its own certificate, as its kubelet",
		"internal/certs/restserver.go":     "the helper renews the certificate of the REST server without paictl",
		"internal/guard/witness/probes.go": "it asks whether jobs can be submitted, with a dry run",
		network + "/isolate/publish.go":    "the program on a machine publishes the addresses of its machine",

		// These use kubectl and kubeadm. What they run starts in a command of an operation, which
		// asks package fence, except for restarted.sh.
		"internal/cluster/bootstrap.go":         "kubeadm writes what it needs in the cluster, and kubectl removes of that what PAI does not want, on the machine, in one script",
		"internal/cluster/join.go":              "kubeadm creates and revokes the token of a machine that joins",
		"internal/cluster/kubeadm.go":           "it hands kubeadm to the scripts of other files, which this check reads",
		"internal/cluster/diff.go":              "it hands kubeadm to the scripts of other files, which this check reads",
		"internal/cluster/kubeletconfig.go":     "it hands kubectl to restarted.sh",
		"internal/cluster/scripts/restarted.sh": "a machine that restarted marks its own tasks without paictl, before its kubelet starts and as this kubelet, which can change only the pods of its machine",
	}
}

// writeTypes are what the write calls of client-go take, by package.
func writeTypes() map[string][]string {
	return map[string][]string{
		"k8s.io/apimachinery/pkg/apis/meta/v1": {"CreateOptions", "UpdateOptions", "PatchOptions", "ApplyOptions", "DeleteOptions"},
		"k8s.io/api/policy/v1":                 {"Eviction"},
	}
}

// writeVerbs are the calls of a REST client that write.
func writeVerbs() []string { return []string{"Post", "Put", "Patch", "Delete"} }

// writeMethods are the methods of HTTP requests that write.
func writeMethods() []string {
	return []string{"MethodPost", "MethodPut", "MethodPatch", "MethodDelete"}
}

// CheckWrites returns the places outside package kube that write to the cluster: with
// client-go, with HTTP requests in a package that names paths of the Kubernetes API, or with
// a program (see programRuns), also in scripts. The names of files begin with dir, which is
// where the tree is in the repository.
func CheckWrites(tree fs.FS, dir string) ([]string, error) {
	return checkWrites(tree, dir, ownWrites())
}

// checkWrites is CheckWrites with other exceptions.
func checkWrites(tree fs.FS, dir string, allowed map[string]string) ([]string, error) {
	c := writeCheck{allowed: allowed, requests: map[string][]string{}, usesAPI: map[string]bool{}}
	checked := func(check func(name string, data []byte) error) func(string, []byte) error {
		return func(name string, data []byte) error {
			name = path.Join(dir, name)
			if !product(name) && !strings.HasPrefix(name, network+"/") || strings.HasPrefix(name, "internal/kube/") {
				return nil
			}
			return check(name, data)
		}
	}
	if err := eachSource(tree, checked(c.source)); err != nil {
		return nil, err
	}
	if err := eachFile(tree, func(name string) bool { return !strings.HasSuffix(name, ".go") }, checked(c.script)); err != nil {
		return nil, err
	}
	for pkg, found := range c.requests {
		if c.usesAPI[pkg] {
			c.problems = append(c.problems, found...)
		}
	}
	slices.Sort(c.problems)
	return c.problems, nil
}

// writeCheck collects what CheckWrites finds.
type writeCheck struct {
	allowed  map[string]string
	problems []string
	requests map[string][]string // package → its HTTP requests that write
	usesAPI  map[string]bool     // packages that name paths of the Kubernetes API
}

// wrong says that a place writes to the cluster.
func wrong(at fmt.Stringer, what string) string {
	return fmt.Sprintf("%s uses %s: only package kube writes to the cluster; an exception is in ownWrites in test/deptest", at, what)
}

// source checks a Go file.
func (c *writeCheck) source(name string, source []byte) error {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, name, source, parser.SkipObjectResolution)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	types := map[string][]string{} // name of the import → what writes
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return fmt.Errorf("read the imports of %s: %w", name, err)
		}
		if found := writeTypes()[imported]; found != nil {
			types[importName(spec, imported)] = found
		}
	}
	allowed := c.allowed[name] != ""
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BasicLit:
			if n.Kind != token.STRING {
				return true
			}
			text, _ := strconv.Unquote(n.Value)
			c.usesAPI[path.Dir(name)] = c.usesAPI[path.Dir(name)] || kubernetesPath(text)
			if program := programIn(text); program != "" && !allowed {
				c.problems = append(c.problems, wrong(files.Position(n.Pos()), program))
			}
		case *ast.SelectorExpr:
			if allowed {
				return true
			}
			if what := writeCall(n, types); what != "" {
				c.problems = append(c.problems, wrong(files.Position(n.Pos()), what))
			}
			if x, ok := n.X.(*ast.Ident); ok && x.Name == "http" && slices.Contains(writeMethods(), n.Sel.Name) {
				c.requests[path.Dir(name)] = append(c.requests[path.Dir(name)], wrong(files.Position(n.Pos()), "http."+n.Sel.Name))
			}
		}
		return true
	})
	return nil
}

// writeCall is what a selector uses of client-go that writes; empty if it writes nothing.
// types are the names of the imports with types of write calls.
func writeCall(selector *ast.SelectorExpr, types map[string][]string) string {
	switch x := selector.X.(type) {
	case *ast.Ident:
		if slices.Contains(types[x.Name], selector.Sel.Name) {
			return x.Name + "." + selector.Sel.Name
		}
	case *ast.CallExpr:
		if f, ok := x.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "RESTClient" && slices.Contains(writeVerbs(), selector.Sel.Name) {
			return "RESTClient()." + selector.Sel.Name
		}
	}
	return ""
}

// kubernetesPath reports whether a text is a path of the Kubernetes API.
func kubernetesPath(text string) bool {
	return strings.HasPrefix(text, "/apis/") || strings.HasPrefix(text, "/api/v1/namespaces") || strings.HasPrefix(text, "/api/v1/nodes")
}

// importName is the name that a file uses for an import.
func importName(spec *ast.ImportSpec, imported string) string {
	if spec.Name != nil {
		return spec.Name.Name
	}
	return path.Base(imported)
}
