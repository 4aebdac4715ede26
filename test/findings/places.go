package main

import (
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
)

// place is where a test is: a package, and the build tag that its file needs.
type place struct{ dir, tag string }

var (
	function   = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)[A-Za-z0-9_]+)\(`)
	constraint = regexp.MustCompile(`(?m)^//go:build ([a-z0-9]+)`)
)

// places finds every test of a tree.
func places(root string) (map[string][]place, error) {
	found := map[string][]place{}
	tree := os.DirFS(root)
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(name, "_test.go") {
			return nil
		}
		data, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		p := place{dir: path.Dir(name)}
		if m := constraint.FindSubmatch(data); m != nil && m[1] != nil && string(m[1]) != "linux" {
			p.tag = string(m[1])
		}
		for _, m := range function.FindAllSubmatch(data, -1) {
			if test := string(m[1]); !slices.Contains(found[test], p) {
				found[test] = append(found[test], p)
			}
		}
		return nil
	})
	return found, err
}
