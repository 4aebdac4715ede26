package release

import "pai.dev/pai/internal/pai"

// Manifest is releases/<name>/release.yaml: the row of the support plan, and
// either the pins of the release or the commit that builds it.
type Manifest struct {
	APIVersion string   `yaml:"apiVersion" json:"apiVersion"` // pai.dev/v1
	Kind       string   `yaml:"kind" json:"kind"`             // Release
	Metadata   Metadata `yaml:"metadata" json:"metadata"`
	// BundleFormat is the format of the bundle; see Format.
	BundleFormat int `yaml:"bundleFormat,omitempty" json:"bundleFormat,omitempty"`
	// Services and Kubernetes are the row of the support plan.
	Services      ServicesRow   `yaml:"services" json:"services"`
	Kubernetes    KubernetesRow `yaml:"kubernetes" json:"kubernetes"`
	Configuration Configuration `yaml:"configuration" json:"configuration"`
	// Commit is set for a frozen release: the commit of the PAI repository that
	// builds it. The bundle then has the pins.
	Commit string `yaml:"commit,omitempty" json:"commit,omitempty"`
	// Programs run on machines, Images in the cluster.
	Programs []Program `yaml:"programs" json:"programs"`
	Images   []Image   `yaml:"images" json:"images"`
	// ServiceList names the PAI services of the release. Each is a directory of
	// services/ and a version.
	ServiceList []ServicePin `yaml:"serviceList" json:"serviceList"`
	// Migrations change the form of stored state once, on the way from older
	// services to the services of this release. The source tree names those of a
	// frozen release, too: their code is that of paictl, not of the bundle.
	Migrations []Migration `yaml:"migrations,omitempty" json:"migrations,omitempty"`
}

// Frozen reports whether a commit builds the release, and not this source tree.
func (m Manifest) Frozen() bool { return m.Commit != "" }

// HasPins reports whether it is known what the release consists of.
func (m Manifest) HasPins() bool {
	return len(m.Programs) > 0 || len(m.Images) > 0 || len(m.ServiceList) > 0
}

// Migration is a single change of stored state. Its name selects the code of
// paictl that runs it.
type Migration struct {
	Name        string `yaml:"name" json:"name"`
	Description string `yaml:"description" json:"description"`
	// After is the service of the release that must be ready first, because it
	// reads both forms and its previous version reads only the older form.
	After string `yaml:"after" json:"after"`
	// Reversible is true if the migration can be undone without loss, so that
	// the services can be rolled back.
	Reversible bool `yaml:"reversible,omitempty" json:"reversible,omitempty"`
}

// Metadata names the release.
type Metadata struct {
	Name pai.Release `yaml:"name" json:"name"`
}

// ServicesRow is the services part of a row of the support plan.
type ServicesRow struct {
	Version         pai.ServicesVersion `yaml:"version" json:"version"`
	UpgradableSince pai.ServicesVersion `yaml:"upgradableSince" json:"upgradableSince"` // oldest services that reach this in one hop
}

// KubernetesRow is the Kubernetes part of a row of the support plan.
type KubernetesRow struct {
	Version         pai.KubernetesVersion `yaml:"version" json:"version"`                 // PAI's name for this Kubernetes
	Upstream        string                `yaml:"upstream" json:"upstream"`               // "v1.36.3"
	CompatibleSince pai.KubernetesVersion `yaml:"compatibleSince" json:"compatibleSince"` // oldest Kubernetes these services run on
	UpgradableSince pai.KubernetesVersion `yaml:"upgradableSince" json:"upgradableSince"` // oldest Kubernetes that reaches this in one hop
}

// Configuration has the configuration schema that the release introduced.
type Configuration struct {
	Schema int `yaml:"schema" json:"schema"`
}

// Program is one set of programs for machines, built from one pinned module.
type Program struct {
	Name      string `yaml:"name" json:"name"`           // "kubernetes", "etcd", "containerd", "runc", "cni", "api-proxy", "network", "gpu"
	Version   string `yaml:"version" json:"version"`     // upstream version, "v3.6.8"
	Component string `yaml:"component" json:"component"` // directory of the nested module, "components/etcd/v3.6.8"
}

// Image is one container image, with one static program of one component.
type Image struct {
	Name       string `yaml:"name" json:"name"`                                 // "kueue": the image is pai.local/kueue:<version>
	Version    string `yaml:"version" json:"version"`                           // tag
	Component  string `yaml:"component" json:"component"`                       // directory of the nested module
	Entrypoint string `yaml:"entrypoint,omitempty" json:"entrypoint,omitempty"` // path of the program in the image; default /<name>
	User       string `yaml:"user" json:"user"`                                 // "65532:65532": user and group that the program runs as
	Shell      bool   `yaml:"shell,omitempty" json:"shell,omitempty"`           // also has busybox-static of Debian, as /bin/sh and its other names
}

// Ref is the image's full name, "pai.local/kueue:v0.14.0".
func (i Image) Ref() string { return ImageRegistry + "/" + i.Name + ":" + i.Version }

// Program is the path of the image's program.
func (i Image) Program() string {
	if i.Entrypoint == "" {
		return "/" + i.Name
	}
	return i.Entrypoint
}

// ServicePin is a PAI service in a release.
type ServicePin struct {
	Name    string `yaml:"name" json:"name"`
	Version string `yaml:"version" json:"version"` // upstream version, or the release's version for services of PAI
	// Chart is set if a Go module has the service's chart. In the bundle it is
	// the service's directory "chart".
	Chart *Chart `yaml:"chart,omitempty" json:"chart,omitempty"`
}

// Chart is a Helm chart in the module that a component pins.
type Chart struct {
	Component string `yaml:"component" json:"component"` // directory of the nested module
	Path      string `yaml:"path" json:"path"`           // directory of the chart in the component's module
}

// ImageRegistry is the registry part of every image that PAI builds. The
// registry does not exist: images are imported, never pulled.
const ImageRegistry = "pai.local"
