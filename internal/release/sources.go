package release

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// sources decide the programs of a component, besides its flags.
type sources struct {
	files   []string // relative to the source tree
	modules []string // path@version of what they import, where go.mod is not among the files
}

// sources lists the files of a component without tests. A component with its
// own go.mod has all files below it. Otherwise it has the packages of PAI's
// module that its program imports, and the versions of the modules that they
// import: a change of go.mod that does not affect the program is not a change.
func (c component) sources(ctx context.Context, g goTool, source string) (s sources, err error) {
	if c.nested {
		err = filepath.WalkDir(c.dir, func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.HasSuffix(p, "_test.go") {
				return err
			}
			rel, err := filepath.Rel(source, p)
			s.files = append(s.files, filepath.ToSlash(rel))
			return err
		})
	} else {
		err = c.rootSources(ctx, g, source, &s)
	}
	if err != nil {
		return s, fmt.Errorf("list sources of component %q: %w", c.Path, err)
	}
	slices.Sort(s.files)
	slices.Sort(s.modules)
	s.modules = slices.Compact(s.modules)
	return s, nil
}

// listedPackage is a package in the output of `go list -json`.
type listedPackage struct {
	Dir    string
	Module *struct {
		Path, Version, GoVersion string
		Main                     bool
	}
	GoFiles, EmbedFiles, SFiles []string
}

func (c component) rootSources(ctx context.Context, g goTool, source string, s *sources) error {
	out, err := g.run(ctx, c.dir, "list", "-deps", "-json=Dir,Module,GoFiles,EmbedFiles,SFiles", ".")
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(c.dir, recipeFile)); err == nil {
		s.files = append(s.files, path.Join(c.Path, recipeFile))
	}
	dec := json.NewDecoder(bytes.NewReader(out))
	for dec.More() {
		var p listedPackage
		if err := dec.Decode(&p); err != nil {
			return err
		}
		if p.Module == nil { // the standard library: part of Go's version
			continue
		}
		if !p.Module.Main {
			s.modules = append(s.modules, p.Module.Path+"@"+p.Module.Version)
			continue
		}
		s.modules = append(s.modules, p.Module.Path+" go "+p.Module.GoVersion)
		rel, err := filepath.Rel(source, p.Dir)
		if err != nil {
			return err
		}
		for _, f := range slices.Concat(p.GoFiles, p.EmbedFiles, p.SFiles) {
			s.files = append(s.files, path.Join(filepath.ToSlash(rel), filepath.ToSlash(f)))
		}
	}
	return nil
}
