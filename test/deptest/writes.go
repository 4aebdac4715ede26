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
		"internal/service/webhookcert.go":  "it creates a certificate once, and replaces only the version that it read",
		"internal/certs/api.go":            "it sends the requests of the next three",
		"internal/certs/approve.go":        "the helper on the control-plane machine approves requests of kubelets without paictl, as a user that can do nothing else",
		"internal/certs/request.go":        "a machine asks for its own certificate, as its kubelet",
		"internal/certs/restserver.go":     "the helper renews the certificate of the REST server without paictl",
		"internal/guard/witness/probes.go": "it asks whether jobs can be submitted, with a dry run",
		"internal/cluster/bootstrap.go":    "it removes what kubeadm wrote, on the machine, in the script that ran kubeadm",
		network + "/isolate/publish.go":    "the program on a machine publishes the addresses of its machine",
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
// kubectl. The names of files begin with dir, which is where the tree is in the repository.
func CheckWrites(tree fs.FS, dir string) ([]string, error) {
	var problems []string
	requests := map[string][]string{} // package → its requests that write
	usesAPI := map[string]bool{}
	err := eachSource(tree, func(name string, source []byte) error {
		name = path.Join(dir, name)
		if !product(name) && !strings.HasPrefix(name, network+"/") || strings.HasPrefix(name, "internal/kube/") {
			return nil
		}
		allowed := ownWrites()[name] != ""
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
		ast.Inspect(file, func(n ast.Node) bool {
			if text, ok := n.(*ast.BasicLit); ok && text.Kind == token.STRING {
				value, _ := strconv.Unquote(text.Value)
				usesAPI[path.Dir(name)] = usesAPI[path.Dir(name)] || kubernetesPath(value)
				if strings.Contains(value, `kubectl" --kubeconfig`) && !allowed {
					problems = append(problems, fmt.Sprintf("%s uses kubectl: only package kube writes to the cluster", files.Position(text.Pos())))
				}
			}
			selector, ok := n.(*ast.SelectorExpr)
			if !ok || allowed {
				return true
			}
			of := ""
			switch x := selector.X.(type) {
			case *ast.Ident:
				if slices.Contains(types[x.Name], selector.Sel.Name) {
					of = x.Name
				}
				if x.Name == "http" && slices.Contains(writeMethods(), selector.Sel.Name) {
					requests[path.Dir(name)] = append(requests[path.Dir(name)], fmt.Sprintf("%s uses http.%s: only package kube writes to the cluster", files.Position(selector.Pos()), selector.Sel.Name))
				}
			case *ast.CallExpr:
				if f, ok := x.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "RESTClient" && slices.Contains(writeVerbs(), selector.Sel.Name) {
					of = "RESTClient()"
				}
			}
			if of != "" {
				problems = append(problems, fmt.Sprintf("%s uses %s.%s: only package kube writes to the cluster", files.Position(selector.Pos()), of, selector.Sel.Name))
			}
			return true
		})
		return nil
	})
	for pkg, found := range requests {
		if usesAPI[pkg] {
			problems = append(problems, found...)
		}
	}
	slices.Sort(problems)
	return problems, err
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
