// Package deptest checks the direction of imports between PAI's packages. It
// may know nothing of them but their names.
package deptest

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

const module = "pai.dev/pai"

// layers lists the directories of internal/, highest first: a package imports only
// from its own directory and from those further down.
func layers() []string {
	return []string{"cli", "operation", "configsync", "session", "revision", "scheduledbackup", "run", "guard", "witness", "check", "portal", "rest", "history", "openpaisecrets", "identity", "job", "tasklog", "observe",
		"cluster", "service", "kube", "nspawn", "inspect", "certs", "hostsfile", "etcd", "machine", "gpu", "storageprobe", "plan", "backup", "keyring", "release", "config", "yamldoc", "oplog", "fence", "filelock", "atomicfile", "tlsserver", "poll", "golden", "fingerprint", "layout", "pai"}
}

// pure lists all that package plan may import: nothing that knows a clock, a
// network, a file, Kubernetes or a machine.
func pure() []string {
	return []string{"cmp", "context", "encoding/json", "errors", "fmt", "iter", "maps", "math", "slices", "sort", "strconv", "strings", "unicode",
		module + "/internal/pai", module + "/internal/release", module + "/internal/config", module + "/internal/layout"}
}

// leaves lists the packages that use the standard library only.
func leaves() []string { return []string{"pai", "layout"} }

// Check reads the imports of a source tree's programs and returns what is
// wrong, each with its file. Tests may import what they like.
func Check(tree fs.FS) ([]string, error) {
	var problems []string
	err := eachSource(tree, func(name string, source []byte) error {
		file, err := parser.ParseFile(token.NewFileSet(), name, source, parser.ImportsOnly)
		if err != nil {
			return fmt.Errorf("read the imports of %s: %w", name, err)
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return fmt.Errorf("read the imports of %s: %w", name, err)
			}
			if rule := forbidden(path.Dir(name), imported); rule != "" {
				problems = append(problems, fmt.Sprintf("%s imports %s: %s", name, imported, rule))
			}
		}
		return nil
	})
	return problems, err
}

// eachSource calls do with every Go file of this module that is no test.
func eachSource(tree fs.FS, do func(name string, source []byte) error) error {
	return eachFile(tree, func(name string) bool {
		return strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go")
	}, do)
}

// eachFile calls do with every file of this module whose name is wanted.
func eachFile(tree fs.FS, wanted func(name string) bool, do func(name string, data []byte) error) error {
	return fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && skipped(tree, name, d):
			return fs.SkipDir
		case d.IsDir() || !wanted(name):
			return nil
		}
		data, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		return do(name, data)
	})
}

// skipped reports directories that hold no packages of this module.
func skipped(tree fs.FS, name string, d fs.DirEntry) bool {
	if name == "." {
		return false
	}
	if foreign(d) {
		return true
	}
	_, err := fs.Stat(tree, path.Join(name, "go.mod")) // another module
	return err == nil
}

// foreign reports directories whose files are not sources of this repository.
func foreign(d fs.DirEntry) bool {
	return strings.HasPrefix(d.Name(), ".") || slices.Contains([]string{"testdata", "bin", "node_modules"}, d.Name())
}

// forbidden says which rule an import breaks; empty where it breaks none.
func forbidden(dir, imported string) string {
	importer, inside := layer(dir)
	target, own := layer(strings.TrimPrefix(imported, module+"/"))
	own = own && strings.HasPrefix(imported, module+"/")
	switch {
	case inside && rank(importer) < 0:
		return fmt.Sprintf("internal/%s has no place in the order of layers; give it one in test/deptest", importer)
	case own && rank(target) < 0:
		return fmt.Sprintf("internal/%s has no place in the order of layers; give it one in test/deptest", target)
	case importer == "plan" && !slices.Contains(pure(), imported):
		return "package plan is pure"
	case slices.Contains(leaves(), importer) && !standard(imported):
		return fmt.Sprintf("package %s uses the standard library only", importer)
	case inside && own && rank(target) < rank(importer):
		return fmt.Sprintf("%s is above %s", target, importer)
	case strings.HasPrefix(imported, "go.etcd.io/") && importer != "etcd" && !strings.HasPrefix(dir, "test/"):
		return "only package etcd asks etcd: it writes no keys, and bounds which members are removed"
	case inside && strings.HasPrefix(imported, module+"/cmd/"):
		return "programs are not imported"
	case !inside && !strings.HasPrefix(dir, "cmd/") && !strings.HasPrefix(dir, "test/") && own:
		return fmt.Sprintf("%s is data, and uses nothing of internal", dir)
	}
	return ""
}

// layer is the directory of internal/ that a package is in.
func layer(dir string) (name string, inside bool) {
	rest, inside := strings.CutPrefix(dir, "internal/")
	if !inside {
		return "", false
	}
	name, _, _ = strings.Cut(rest, "/")
	return name, true
}

func rank(layer string) int { return slices.Index(layers(), layer) }

// standard reports whether an import is of the standard library: its first
// element has no dot.
func standard(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return !strings.Contains(first, ".")
}
