package release

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"pai.dev/pai/internal/pai"
)

// recipe is component.yaml: how a component's programs are built. A folder
// without one has a single main package of PAI's own.
type recipe struct {
	// Module is the one whose version the component has; empty for a
	// component of PAI's own, which has the version that a release gives it.
	Module string `yaml:"module"`
	// Programs maps a path, as it is in a layer, to a main package.
	Programs map[string]string `yaml:"programs"`
	CGO      bool              `yaml:"cgo"`
	Tags     []string          `yaml:"tags"`
	// Stamps are string variables set by the linker. ${VERSION}, ${MAJOR} and
	// ${MINOR} stand for the version and its first two numbers.
	Stamps map[string]string `yaml:"stamps"`
}

const recipeFile = "component.yaml"

// component is one component as one release pins it.
type component struct {
	recipe
	Folder  string // in the source tree: "components/etcd/v3.6.8"
	Version string
	dir     string // Folder on the disk
	nested  bool   // has a go.mod of its own
}

// loadComponent reads a component. name is that of the pin, which the program
// of a component without a recipe gets.
func loadComponent(source, folder, name, version string) (component, error) {
	c := component{Folder: folder, Version: version, dir: filepath.Join(source, filepath.FromSlash(folder))}
	if _, err := os.Stat(filepath.Join(c.dir, "go.mod")); err == nil {
		c.nested = true
	} else if info, err := os.Stat(c.dir); err != nil || !info.IsDir() {
		return c, fmt.Errorf("component %q is not a folder of the source tree", folder)
	}
	data, err := os.ReadFile(filepath.Join(c.dir, recipeFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.Programs = map[string]string{"bin/" + name: "."}
	case err != nil:
		return c, fmt.Errorf("read component %q: %w", folder, err)
	default:
		if err := decodeStrict(data, &c.recipe); err != nil {
			return c, fmt.Errorf("read %s/%s: %w", folder, recipeFile, err)
		}
	}
	if c.Module == "" {
		if c.Stamps == nil {
			c.Stamps = map[string]string{}
		}
		c.Stamps["main.version"] = "${VERSION}"
	}
	return c, c.check()
}

func (c component) check() error {
	k := &checker{}
	place := c.Folder + "/" + recipeFile
	k.must(len(c.Programs) > 0, place, "names no programs")
	for p := range c.Programs {
		k.folder(place+" programs", p)
	}
	if len(k.problems) > 0 {
		return errors.Join(k.problems...)
	}
	return nil
}

// checkVersion compares the pin with what the component's go.mod has.
func (c component) checkVersion(ctx context.Context, g goTool) error {
	if c.Module == "" {
		return nil
	}
	out, err := g.run(ctx, c.dir, "mod", "edit", "-json")
	if err != nil {
		return fmt.Errorf("read version of component %q: %w", c.Folder, err)
	}
	var mod struct {
		Require []struct{ Path, Version string }
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		return fmt.Errorf("read version of component %q: %w", c.Folder, err)
	}
	for _, r := range mod.Require {
		if r.Path == c.Module && r.Version == c.Version {
			return nil
		}
		if r.Path == c.Module {
			return pai.Errorf(pai.CodeInvalid, "make release.yaml and the component's go.mod agree",
				"the release pins %s %s, but %s/go.mod has %s", c.Module, c.Version, c.Folder, r.Version)
		}
	}
	return fmt.Errorf("%s/go.mod does not require %s, whose version the component has", c.Folder, c.Module)
}

var numbersRule = regexp.MustCompile(`^v([0-9]+)\.([0-9]+)`)

// ldflags are the linker's flags, in a fixed order.
func (c component) ldflags() string {
	values := []string{"${VERSION}", c.Version}
	if n := numbersRule.FindStringSubmatch(c.Version); n != nil {
		values = append(values, "${MAJOR}", n[1], "${MINOR}", n[2])
	}
	expand := strings.NewReplacer(values...)
	flags := []string{"-s", "-w"}
	for _, variable := range sortedKeys(c.Stamps) {
		flags = append(flags, fmt.Sprintf("-X '%s=%s'", variable, expand.Replace(c.Stamps[variable])))
	}
	return strings.Join(flags, " ")
}

// flags are those of go build that decide what comes out.
func (c component) flags() []string {
	return []string{"-trimpath", "-buildvcs=false", "-tags=" + strings.Join(c.Tags, ","), "-ldflags=" + c.ldflags()}
}

// sources are what a component is made of, besides its flags.
type sources struct {
	files   []string // relative to the source tree
	modules []string // path@version of what they import, where go.mod is not among the files
}

// sources lists all of a nested module, else the packages of PAI's own module
// that the program imports, and the modules that these import: a change of
// go.mod that does not touch the program is none. Tests are not part of it.
func (c component) sources(ctx context.Context, g goTool, source string) (sources, error) {
	var s sources
	if !c.nested {
		err := c.rootSources(ctx, g, source, &s)
		if err != nil {
			err = fmt.Errorf("list sources of component %q: %w", c.Folder, err)
		}
		return s, err
	}
	err := filepath.WalkDir(c.dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(p, "_test.go") {
			return err
		}
		rel, err := filepath.Rel(source, p)
		s.files = append(s.files, filepath.ToSlash(rel))
		return err
	})
	if err != nil {
		return s, fmt.Errorf("list sources of component %q: %w", c.Folder, err)
	}
	slices.Sort(s.files)
	return s, nil
}

// listedPackage is what `go list -json` says of a package.
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
		s.files = append(s.files, path.Join(c.Folder, recipeFile))
	}
	dec := json.NewDecoder(bytes.NewReader(out))
	for dec.More() {
		var p listedPackage
		if err := dec.Decode(&p); err != nil {
			return err
		}
		if p.Module == nil { // Go's own: part of Go's version
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
	slices.Sort(s.files)
	slices.Sort(s.modules)
	s.modules = slices.Compact(s.modules)
	return nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
