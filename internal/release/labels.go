package release

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"pai.dev/pai/internal/pai"
)

// A label is what a pin says of its content: kind, name, and version. Two releases
// that have a label in common must mean the same content. Machines find programs
// and images by their labels.
type label struct{ kind, name, version string }

func (l label) String() string { return strings.TrimSpace(l.kind + " " + l.name + " " + l.version) }

// labelsOf returns the content of every label of a release. The parts of two
// releases of one source tree have the same key if their content is equal here:
// the key also hashes what is in the directory of the component.
func labelsOf(releases fs.FS, m Manifest) map[label]string {
	all := map[label]string{}
	programs := ""
	for _, p := range m.Programs {
		all[label{"program", p.Name, p.Version}] = "component " + p.Component
		programs += fmt.Sprintf(" %s %s,", p.Name, p.Version)
	}
	all[label{kind: "Kubernetes", name: string(m.Kubernetes.Version)}] = "the programs" + strings.TrimSuffix(programs, ",")
	for _, i := range m.Images {
		content := fmt.Sprintf("component %s, program %s, user %s", i.Component, i.Program(), i.User)
		if i.Shell {
			content += ", with a shell"
		}
		all[label{"image", i.Name, i.Version}] = content
	}
	for _, s := range m.ServiceList {
		all[label{"chart of service", s.Name, s.Version}] = chartOf(releases, m.Metadata.Name, s)
	}
	return all
}

// chartOf returns where a service has its chart from. A release can replace files
// of a chart that is in the source tree.
func chartOf(releases fs.FS, release pai.Release, s ServicePin) string {
	if s.Chart != nil {
		return fmt.Sprintf("component %s, chart %s", s.Chart.Component, s.Chart.Path)
	}
	content := "services/" + s.Name + "/chart"
	overlay := path.Join(string(release), "services", s.Name, "chart")
	_ = fs.WalkDir(releases, overlay, func(p string, d fs.DirEntry, err error) error { // most have none
		if err == nil && !d.IsDir() {
			data, err := fs.ReadFile(releases, p)
			content += fmt.Sprintf(", its own %s (%s, %v)", strings.TrimPrefix(p, overlay+"/"), digestOf(data), err)
		}
		return nil
	})
	return content
}

// checkLabels refuses a release with a label that another release of the source
// tree uses for other content. The error names every such label.
func (b *builder) checkLabels(m Manifest) error {
	releases := os.DirFS(filepath.Join(b.Source, "releases"))
	all, err := Load(releases)
	if err != nil {
		return fmt.Errorf("compare the labels of release %s with those of the other releases: %w", b.Release, err)
	}
	var problems []error
	own := labelsOf(releases, m)
	for _, other := range all {
		if other.Metadata.Name == m.Metadata.Name || other.Frozen() {
			continue // reportOutdated compares with the bundle of a frozen release
		}
		theirs := labelsOf(releases, other)
		for _, l := range sortedLabels(own) {
			if content, shared := theirs[l]; shared && content != own[l] {
				problems = append(problems, fmt.Errorf("%s: release %s has %s, release %s has %s", l, m.Metadata.Name, own[l], other.Metadata.Name, content))
			}
		}
	}
	if len(problems) == 0 {
		return nil
	}
	return pai.Errorf(pai.CodeInvalid, fmt.Sprintf("give what is different a new version in releases/%s/release.yaml", b.Release),
		"release %s cannot be built, because other releases use its labels for other content:\n%w", b.Release, errors.Join(problems...))
}

// reportOutdated names the bundles of other releases in the cache with other
// content for a label of the new one. They were built from other sources. That is
// no error: digests decide what machines run, and a release that is built again
// with a fix must not need all others. A frozen release stays as it is, so the new
// one needs another label.
func (b *builder) reportOutdated(ctx context.Context, dir string) error {
	built, err := entriesOf(dir)
	if err != nil {
		return err
	}
	frozen, err := b.frozenReleases()
	if err != nil {
		return err
	}
	others, err := os.ReadDir(filepath.Dir(dir))
	if err != nil {
		return fmt.Errorf("list the bundles of the cache: %w", err)
	}
	for _, o := range others {
		if !o.IsDir() || strings.HasPrefix(o.Name(), ".") || o.Name() == b.Release || ctx.Err() != nil {
			continue
		}
		entries, err := entriesOf(BundleDir(b.CacheDir, o.Name()))
		if err != nil {
			continue // Open reports it when it is used
		}
		var different []string
		for _, l := range sortedLabels(built) {
			if digest, shared := entries[l]; shared && digest != built[l] {
				different = append(different, l.String())
			}
		}
		switch {
		case len(different) == 0:
		case frozen[o.Name()]:
			b.Progress("release %s: %s differ from those of release %s, which is frozen; give them new versions in releases/%s/release.yaml",
				b.Release, strings.Join(different, ", "), o.Name(), b.Release)
		default:
			b.Progress("release %s: the bundle of release %s was built from other sources of %s; to build it again, run: paictl release build %s",
				b.Release, o.Name(), strings.Join(different, ", "), o.Name())
		}
	}
	return nil
}

// frozenReleases returns the names of the frozen releases of the source tree.
func (b *builder) frozenReleases() (map[string]bool, error) {
	all, err := Load(os.DirFS(filepath.Join(b.Source, "releases")))
	frozen := map[string]bool{}
	for _, m := range all {
		frozen[string(m.Metadata.Name)] = m.Frozen()
	}
	return frozen, err
}

// entriesOf returns the digests of the programs and images of a bundle.
func entriesOf(dir string) (map[label]string, error) {
	bundle, index, err := openUnverified(dir)
	if err != nil {
		return nil, err
	}
	if err := bundle.readIndex(index); err != nil {
		return nil, err
	}
	digests := map[label]string{}
	for _, e := range bundle.entries {
		if e.Kind == KindProgram || e.Kind == KindImage {
			digests[label{string(e.Kind), e.Name, e.Version}] = e.Digest
		}
	}
	return digests, nil
}

func sortedLabels(labels map[label]string) []label {
	return slices.SortedFunc(maps.Keys(labels), func(a, b label) int { return cmp.Compare(a.String(), b.String()) })
}
