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

// ownWrites lists the files outside package kube that may write to the
// cluster, each with the reason.
func ownWrites() map[string]string {
	return map[string]string{
		"internal/service/webhookcert.go": "it creates a certificate once, and replaces only the version that it read",
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

// CheckWrites returns the places outside package kube that write to the
// cluster with client-go.
func CheckWrites(tree fs.FS) ([]string, error) {
	var problems []string
	err := eachSource(tree, func(name string, source []byte) error {
		if !product(name) || strings.HasPrefix(name, "internal/kube/") || ownWrites()[name] != "" {
			return nil
		}
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
			selector, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			of := ""
			switch x := selector.X.(type) {
			case *ast.Ident:
				if slices.Contains(types[x.Name], selector.Sel.Name) {
					of = x.Name
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
	return problems, err
}

// importName is the name that a file uses for an import.
func importName(spec *ast.ImportSpec, imported string) string {
	if spec.Name != nil {
		return spec.Name.Name
	}
	return path.Base(imported)
}
