package deptest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"regexp"
	"strconv"
	"strings"

	"pai.dev/pai/internal/layout"
)

// machinePaths finds paths that package layout names.
var machinePaths = regexp.MustCompile(`(^|[^\w.])(` + strings.Join([]string{
	layout.ProgramsDir, layout.ConfigDir, layout.StateDir, layout.RunDir,
	layout.KubernetesDir, layout.KubeletDir, layout.EtcdDir, layout.ContainerdDir, "/etc/cni", "/run/containerd",
}, "|") + `)([^\w.-]|$)`)

// ownNames lists the files that may spell such names, each with the reason.
func ownNames() map[string]string {
	return map[string]string{
		"internal/plan/diff.go":   "the help text of a JSON field gives an example",
		"cmd/rest-server/main.go": "a path in the container of the REST server, not on a machine",
	}
}

// CheckLiterals returns the string and number literals of a source tree that
// spell a path or port that package layout names.
func CheckLiterals(tree fs.FS) ([]string, error) {
	ports := map[string]bool{}
	for _, p := range layout.Ports() {
		ports[strconv.Itoa(p.Number)] = p.Role != "" // 22 is too common a number
	}
	number := regexp.MustCompile(`\d+`)
	spelled := func(text string) string {
		if m := machinePaths.FindStringSubmatch(text); m != nil {
			return m[2]
		}
		for _, n := range number.FindAllString(text, -1) {
			if ports[n] {
				return "port " + n
			}
		}
		return ""
	}
	var problems []string
	err := eachSource(tree, func(name string, source []byte) error {
		if !product(name) || strings.HasPrefix(name, "internal/layout/") || ownNames()[name] != "" {
			return nil
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, name, source, parser.SkipObjectResolution)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		tags := map[*ast.BasicLit]bool{}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ImportSpec:
				return false
			case *ast.Field:
				tags[n.Tag] = true
			case *ast.BasicLit:
				if found := spelled(n.Value); found != "" && !tags[n] {
					problems = append(problems, fmt.Sprintf("%s spells %s; use package layout", files.Position(n.Pos()), found))
				}
			}
			return true
		})
		return nil
	})
	return problems, err
}

// product reports whether a file is part of PAI, and not of its tests and tools.
func product(name string) bool {
	return strings.HasPrefix(name, "internal/") || strings.HasPrefix(name, "cmd/")
}
