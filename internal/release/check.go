package release

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"

	"pai.dev/pai/internal/pai"
)

var (
	nameRule     = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	tagRule      = regexp.MustCompile(`^v[0-9][-.a-zA-Z0-9]{0,126}$`)
	upstreamRule = regexp.MustCompile(`^v1\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)$`)
	commitRule   = regexp.MustCompile(`^[0-9a-f]{40}$`)
	userRule     = regexp.MustCompile(`^[0-9]+:[0-9]+$`)
)

// checker collects problems with their places.
type checker struct{ problems []error }

func (c *checker) must(ok bool, place, format string, args ...any) {
	if !ok {
		c.problems = append(c.problems, fmt.Errorf("%s %s", place, fmt.Sprintf(format, args...)))
	}
}

// spelled requires the spelling that files and labels have.
func spelled[V ~string](c *checker, place string, v V) {
	c.version(place, pai.CheckVersion(v))
	c.must(pai.Canonical(v) == v, place, "is %s, which is spelled %s", v, pai.Canonical(v))
}

func (c *checker) version(place string, err error) {
	if err != nil {
		c.problems = append(c.problems, fmt.Errorf("%s: %w", place, err))
	}
}

// check returns the problems of one manifest.
func check(m Manifest) []error {
	c := &checker{}
	c.must(m.APIVersion == "pai.dev/v1", "apiVersion", "is %q, not pai.dev/v1", m.APIVersion)
	c.must(m.Kind == "Release", "kind", "is %q, not Release", m.Kind)
	spelled(c, "metadata.name", m.Metadata.Name)
	spelled(c, "services.version", m.Services.Version)
	c.version("services.upgradableSince", pai.CheckVersion(m.Services.UpgradableSince))
	spelled(c, "kubernetes.version", m.Kubernetes.Version)
	c.version("kubernetes.compatibleSince", pai.CheckVersion(m.Kubernetes.CompatibleSince))
	c.version("kubernetes.upgradableSince", pai.CheckVersion(m.Kubernetes.UpgradableSince))
	c.must(upstreamRule.MatchString(m.Kubernetes.Upstream), "kubernetes.upstream", "is %q, not of the form v1.MINOR.PATCH", m.Kubernetes.Upstream)
	c.must(m.Services.Version.AtLeast(m.Services.UpgradableSince), "services.upgradableSince", "is newer than services.version")
	c.must(m.Kubernetes.Version.AtLeast(m.Kubernetes.CompatibleSince), "kubernetes.compatibleSince", "is newer than kubernetes.version")
	c.must(m.Kubernetes.Version.AtLeast(m.Kubernetes.UpgradableSince), "kubernetes.upgradableSince", "is newer than kubernetes.version")
	c.must(m.BundleFormat >= 0, "bundleFormat", "is %d, not a positive number", m.BundleFormat)
	c.must(m.Configuration.Schema > 0, "configuration.schema", "is missing")
	if m.Frozen() {
		c.must(commitRule.MatchString(m.Commit), "commit", "is %q, not the full ID of a commit: 40 hexadecimal digits", m.Commit)
		c.must(!m.HasPins(), "commit", "is given, and so are programs, images, or serviceList: a release has either pins or the commit that builds it")
	}
	c.pins(m)
	c.migrations(m)
	return c.problems
}

// checkContent refuses a manifest that does not say what the release consists of.
func (m Manifest) checkContent() error {
	if m.Frozen() || m.HasPins() {
		return nil
	}
	return errors.New("commit is missing, and so are programs, images, and serviceList: a release has either pins or the commit that builds it")
}

func (c *checker) pins(m Manifest) {
	seen := map[string]bool{}
	pin := func(list string, i int, name, version string) string {
		place := fmt.Sprintf("%s[%d] (%s)", list, i, name)
		c.must(nameRule.MatchString(name), place, "has a name that is not made of lowercase letters, digits, and dashes")
		c.must(tagRule.MatchString(version), place, "has version %q, which does not start with v and a digit or cannot be a tag", version)
		c.must(!seen[list+"/"+name], place, "is a duplicate")
		seen[list+"/"+name] = true
		return place
	}
	for i, p := range m.Programs {
		place := pin("programs", i, p.Name, p.Version)
		c.dir(place+" component", p.Component)
		if p.Name == "kubernetes" {
			c.must(p.Version == m.Kubernetes.Upstream, place, "is %s, but kubernetes.upstream is %s", p.Version, m.Kubernetes.Upstream)
		}
	}
	for i, img := range m.Images {
		place := pin("images", i, img.Name, img.Version)
		c.dir(place+" component", img.Component)
		c.must(img.Entrypoint == "" || path.IsAbs(img.Entrypoint) && path.Clean(img.Entrypoint) == img.Entrypoint && img.Entrypoint != "/",
			place+" entrypoint", "is %q, not the absolute path of a file", img.Entrypoint)
		c.must(userRule.MatchString(img.User), place+" user", "is %q, not of the form 65532:65532", img.User)
	}
	for i, s := range m.ServiceList {
		place := pin("serviceList", i, s.Name, s.Version)
		if s.Chart != nil {
			c.dir(place+" chart.component", s.Chart.Component)
			c.dir(place+" chart.path", s.Chart.Path)
		}
	}
}

// migrations checks the migrations. Only the bundle has the services of a frozen
// release.
func (c *checker) migrations(m Manifest) {
	services, seen := map[string]bool{}, map[string]bool{}
	for _, s := range m.ServiceList {
		services[s.Name] = true
	}
	for i, g := range m.Migrations {
		place := fmt.Sprintf("migrations[%d] (%s)", i, g.Name)
		c.must(nameRule.MatchString(g.Name), place, "has a name that is not made of lowercase letters, digits, and dashes")
		c.must(!seen[g.Name], place, "is a duplicate")
		c.must(services[g.After] || m.Frozen() && nameRule.MatchString(g.After), place+" after", "is %q, which is not a service of the release", g.After)
		c.must(g.Description != "", place, "lacks a description")
		seen[g.Name] = true
	}
}

// dir accepts a clean relative path without leading "..".
func (c *checker) dir(place, p string) {
	c.must(fs.ValidPath(p) && p != ".", place, "is %q, not a directory below the source tree", p)
}

// checkTogether returns the contradictions between releases: the same version
// must mean the same content.
func checkTogether(manifests []Manifest) []error {
	var problems []error
	for i, a := range manifests {
		for _, b := range manifests[:i] {
			same := a.Kubernetes.Version.Compare(b.Kubernetes.Version) == 0
			if same && a.Kubernetes.Upstream != b.Kubernetes.Upstream {
				problems = append(problems, fmt.Errorf("releases %s and %s: both have Kubernetes %s, but upstream %s and %s",
					b.Metadata.Name, a.Metadata.Name, a.Kubernetes.Version, b.Kubernetes.Upstream, a.Kubernetes.Upstream))
			}
			if a.Metadata.Name.Compare(b.Metadata.Name) == 0 {
				problems = append(problems, fmt.Errorf("releases %q and %q are the same version", b.Metadata.Name, a.Metadata.Name))
			}
		}
	}
	return problems
}
