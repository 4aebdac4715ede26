package release

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"pai.dev/pai/internal/pai"
)

// recipe is component.yaml: how a component's programs are built. A directory
// without that file has a single main package of PAI.
type recipe struct {
	// Module is the module that gives the component its version. It is empty
	// for a component of PAI, which gets its version from the release.
	Module string `yaml:"module"`
	// Programs maps a path in the layer to a main package.
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
	Path    string // in the source tree: "components/etcd/v3.6.8"
	Version string
	dir     string // Path on the disk
	nested  bool   // has its own go.mod
}

// loadComponent reads a component. The program of a component without a recipe
// has the name of the pin.
func loadComponent(source, dir, name, version string) (component, error) {
	c := component{Path: dir, Version: version, dir: filepath.Join(source, filepath.FromSlash(dir))}
	if _, err := os.Stat(filepath.Join(c.dir, "go.mod")); err == nil {
		c.nested = true
	} else if info, err := os.Stat(c.dir); err != nil || !info.IsDir() {
		return c, fmt.Errorf("component %q is not a directory of the source tree", dir)
	}
	data, err := os.ReadFile(filepath.Join(c.dir, recipeFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.Programs = map[string]string{"bin/" + name: "."}
	case err != nil:
		return c, fmt.Errorf("read component %q: %w", dir, err)
	default:
		if err := decodeStrict(data, &c.recipe); err != nil {
			return c, fmt.Errorf("read %s/%s: %w", dir, recipeFile, err)
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
	place := c.Path + "/" + recipeFile
	k.must(len(c.Programs) > 0, place, "names no programs")
	for p := range c.Programs {
		k.dir(place+" programs", p)
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
		return fmt.Errorf("read version of component %q: %w", c.Path, err)
	}
	var mod struct {
		Require []struct{ Path, Version string }
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		return fmt.Errorf("read version of component %q: %w", c.Path, err)
	}
	for _, r := range mod.Require {
		if r.Path == c.Module && r.Version == c.Version {
			return nil
		}
		if r.Path == c.Module {
			return pai.Errorf(pai.CodeInvalid, "change release.yaml or the component's go.mod so that both have the same version",
				"the release pins %s %s, but %s/go.mod has %s", c.Module, c.Version, c.Path, r.Version)
		}
	}
	return fmt.Errorf("%s/go.mod does not require %s, which gives the component its version", c.Path, c.Module)
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
	for _, variable := range slices.Sorted(maps.Keys(c.Stamps)) {
		flags = append(flags, fmt.Sprintf("-X '%s=%s'", variable, expand.Replace(c.Stamps[variable])))
	}
	return strings.Join(flags, " ")
}

// flags are the flags of go build that decide the content of the programs.
func (c component) flags() []string {
	return []string{"-trimpath", "-buildvcs=false", "-tags=" + strings.Join(c.Tags, ","), "-ldflags=" + c.ldflags()}
}
