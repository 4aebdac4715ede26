package release

import "pai.dev/pai/internal/pai"

// Manifest is releases/<name>/release.yaml: the row of the support plan, and
// what the release pins.
type Manifest struct {
	APIVersion string   `yaml:"apiVersion" json:"apiVersion"` // pai.dev/v1
	Kind       string   `yaml:"kind" json:"kind"`             // Release
	Metadata   Metadata `yaml:"metadata" json:"metadata"`
	// Services and Kubernetes are the row of the support plan.
	Services      ServicesRow   `yaml:"services" json:"services"`
	Kubernetes    KubernetesRow `yaml:"kubernetes" json:"kubernetes"`
	Configuration Configuration `yaml:"configuration" json:"configuration"`
	// Programs run on machines, Images in the cluster.
	Programs []Program `yaml:"programs" json:"programs"`
	Images   []Image   `yaml:"images" json:"images"`
	// ServiceList names the PAI services of the release, each a folder of
	// services/ with the version that it has in this release.
	ServiceList []ServicePin `yaml:"serviceList" json:"serviceList"`
	// Migrations change, once, the form of something that PAI itself stores,
	// on the way from older services to this release's.
	Migrations []Migration `yaml:"migrations,omitempty" json:"migrations,omitempty"`
}

// Migration is a one-off change of stored state that belongs to a release. Its
// name says which code of paictl carries it out.
type Migration struct {
	Name        string `yaml:"name" json:"name"`
	Description string `yaml:"description" json:"description"`
	// After is the service of the release that has to be ready first: it reads
	// both forms, where the one before it reads the older one alone.
	After string `yaml:"after" json:"after"`
	// Reversible says that it can be undone without loss, so that the services
	// can return to the release before.
	Reversible bool `yaml:"reversible,omitempty" json:"reversible,omitempty"`
}

// Metadata names the release.
type Metadata struct {
	Name string `yaml:"name" json:"name"`
}

// ServicesRow is the services' half of a row of the support plan.
type ServicesRow struct {
	Version         pai.Version `yaml:"version" json:"version"`
	UpgradableSince pai.Version `yaml:"upgradableSince" json:"upgradableSince"` // oldest services that reach this in one hop
}

// KubernetesRow is the Kubernetes half of a row of the support plan.
type KubernetesRow struct {
	Version         pai.Version `yaml:"version" json:"version"`                 // PAI's name for this Kubernetes
	Upstream        string      `yaml:"upstream" json:"upstream"`               // "v1.36.3"
	CompatibleSince pai.Version `yaml:"compatibleSince" json:"compatibleSince"` // oldest Kubernetes these services run on
	UpgradableSince pai.Version `yaml:"upgradableSince" json:"upgradableSince"` // oldest Kubernetes that reaches this in one hop
}

// Configuration says which configuration schema the release introduced.
type Configuration struct {
	Schema int `yaml:"schema" json:"schema"`
}

// Program is one set of programs for machines, built from one pinned module.
type Program struct {
	Name      string `yaml:"name" json:"name"`           // "kubernetes", "etcd", "containerd", "runc", "cni", "api-proxy", "network"
	Version   string `yaml:"version" json:"version"`     // upstream version, "v3.6.8"
	Component string `yaml:"component" json:"component"` // folder of the nested module, "components/etcd/v3.6.8"
}

// Image is one container image, with one static program of one component.
type Image struct {
	Name       string `yaml:"name" json:"name"`                                 // "kueue": the image is pai.local/kueue:<version>
	Version    string `yaml:"version" json:"version"`                           // tag
	Component  string `yaml:"component" json:"component"`                       // folder of the nested module
	Entrypoint string `yaml:"entrypoint,omitempty" json:"entrypoint,omitempty"` // path of the program in the image; default /<name>
	User       string `yaml:"user" json:"user"`                                 // "65532:65532": user and group that the program runs as
	Shell      bool   `yaml:"shell,omitempty" json:"shell,omitempty"`           // also has Debian's busybox-static, as /bin/sh and its other names
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
	Version string `yaml:"version" json:"version"` // upstream version, or the release's own for PAI's services
	// Chart is set where the service's chart comes with its module; it then
	// is the service's folder "chart" in the bundle.
	Chart *Chart `yaml:"chart,omitempty" json:"chart,omitempty"`
}

// Chart is a Helm chart in the module that a component pins.
type Chart struct {
	Component string `yaml:"component" json:"component"` // folder of the nested module
	Path      string `yaml:"path" json:"path"`           // folder of the chart in the component's module
}

// ImageRegistry is the registry part of every image name that PAI builds. No
// such registry exists: images are imported, never pulled.
const ImageRegistry = "pai.local"
