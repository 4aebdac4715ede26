package release

import (
	"context"
	"os"
	"testing"
)

// Every component that a release of this source tree names exists, with the
// version of the release.
func TestPinsOfThisSourceTree(t *testing.T) {
	t.Parallel()
	source := "../.."
	manifests, err := Load(os.DirFS(source + "/releases"))
	if err != nil {
		t.Fatal(err)
	}
	g, err := newGoTool(context.Background(), false)
	if err != nil {
		t.Fatal(err)
	}
	check := func(release, dir, name, version string) component {
		c, err := loadComponent(source, dir, name, version)
		if err == nil {
			err = c.checkVersion(context.Background(), g)
		}
		if err != nil {
			t.Errorf("release %s: %s: %v", release, name, err)
		}
		return c
	}
	for _, m := range manifests {
		for _, p := range m.Programs {
			check(string(m.Metadata.Name), p.Component, p.Name, p.Version)
		}
		versions := map[string]string{}
		for _, i := range m.Images {
			if c := check(string(m.Metadata.Name), i.Component, i.Name, i.Version); len(c.Programs) != 1 {
				t.Errorf("release %s: image %s has %d programs", m.Metadata.Name, i.Name, len(c.Programs))
			}
			versions[i.Name] = i.Version
		}
		for _, s := range m.ServiceList {
			if s.Chart != nil {
				check(string(m.Metadata.Name), s.Chart.Component, s.Name, s.Version)
			}
			if v, ok := versions[s.Name]; ok && v != s.Version {
				t.Errorf("release %s: service %s is %s, its image %s", m.Metadata.Name, s.Name, s.Version, v)
			}
		}
	}
}
