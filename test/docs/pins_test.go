package docs

import (
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/version"
)

// pins are the modules that the tree requires: module, version, and the components
// that have it. The module "go" is the oldest Go that compiles all of them.
type pins map[string]map[string][]string

var (
	requirement = regexp.MustCompile(`(?m)^(?:require )?\s*(\S+) (v\d\S*)( // indirect)?$`)
	replacement = regexp.MustCompile(`(?m)^(?:replace )?\s*(\S+) => \S+ (v\d\S*)$`)
	goLine      = regexp.MustCompile(`(?m)^go (\d+\.\d+\.\d+)$`)
	moduleLine  = regexp.MustCompile(`(?m)^module: (\S+)$`)
)

// readPins reads the pins of PAI and of its components. needed are those that need a
// row: what components are compiled from, and what the programs of PAI import.
func readPins(tree fs.FS) (all pins, needed []string, err error) {
	files := []string{"go.mod"}
	for _, pattern := range []string{"components/*/go.mod", "components/*/*/go.mod", "components/*/*/component.yaml"} {
		found, err := fs.Glob(tree, pattern)
		if err != nil {
			return nil, nil, err
		}
		files = append(files, found...)
	}
	all, names, goVersion := pins{}, map[string]bool{"go": true}, "v0.0.0"
	for _, file := range files {
		data, err := fs.ReadFile(tree, file)
		if err != nil {
			return nil, nil, err
		}
		text := string(data)
		if path.Base(file) == "component.yaml" {
			names[moduleLine.FindStringSubmatch(text)[1]] = true
			continue
		}
		if v := "v" + goLine.FindStringSubmatch(text)[1]; compare(goVersion, v) < 0 {
			goVersion = v
		}
		versions := map[string]string{}
		for _, m := range requirement.FindAllStringSubmatch(text, -1) {
			versions[m[1]] = m[2]
			if m[3] == "" {
				names[m[1]] = true
			}
		}
		for _, m := range replacement.FindAllStringSubmatch(text, -1) {
			if versions[m[1]] != "" {
				versions[m[1]] = m[2]
			}
		}
		for module, v := range versions {
			if all[module] == nil {
				all[module] = map[string][]string{}
			}
			all[module][v] = append(all[module][v], componentOf(file))
		}
	}
	all["go"] = map[string][]string{goVersion: nil}
	return all, slices.Sorted(maps.Keys(names)), nil
}

// componentOf is the name of the component of a go.mod file.
func componentOf(file string) string {
	if elements := strings.Split(file, "/"); len(elements) > 1 {
		return elements[1]
	}
	return "pai"
}

// cell is how the document writes the versions of a module, oldest first.
func (p pins) cell(module string) string {
	var parts []string
	for _, v := range slices.SortedFunc(maps.Keys(p[module]), compare) {
		components := slices.Sorted(slices.Values(p[module][v]))
		parts = append(parts, strings.TrimSpace("`"+v+"` "+strings.Join(components, ", ")))
	}
	return strings.Join(parts, "; ")
}

// allFixed reports whether every pin of a module has the fix of one of several
// branches: the branch of the pin, or the newest.
func (p pins) allFixed(module string, fixes []string) bool {
	for pin := range p[module] {
		if !slices.ContainsFunc(fixes, func(fix string) bool {
			return compare(pin, fix) >= 0 && (branch(pin) == branch(fix) || fix == slices.MaxFunc(fixes, compare))
		}) {
			return false
		}
	}
	return true
}

func branch(v string) string {
	parsed := version.MustParseSemantic(v)
	return version.MajorMinor(parsed.Major(), parsed.Minor()).String()
}

func compare(a, b string) int {
	switch x, y := version.MustParseSemantic(a), version.MustParseSemantic(b); {
	case x.LessThan(y):
		return -1
	case y.LessThan(x):
		return 1
	}
	return 0
}
