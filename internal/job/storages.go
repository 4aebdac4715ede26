package job

import (
	"fmt"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"go.yaml.in/yaml/v3"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/yamldoc"
)

const (
	// maxMounts is how many storages a job can mount.
	maxMounts    = 32
	maxMountPath = 512
	// storageDir has the storages that a job gives no place.
	storageDir = "/mnt"
)

// Mount is a storage at a place in tasks.
type Mount struct {
	Name string // of the storage
	Path string // absolute, in the container
	// Storage is what the cluster has under the name; nil if ParseOptions.Storages has none.
	Storage *pai.Storage
	Roles   []string // whose tasks have it; empty: all
}

// storages reads the storages that a job lists.
func (o object) storages(job *Spec, options ParseOptions) {
	n := o.get("storages")
	if n == nil {
		return
	}
	if n.Kind != yaml.SequenceNode {
		o.problemValue("storages", "must be a list, not %s", yamldoc.Describe(n))
		return
	}
	for i, item := range n.Content {
		at := o.object(item, item, fmt.Sprintf("%s[%d]", o.child("storages"), i), "name", "mountPath")
		name, place, ok := "", "", at.valid
		if field := at.get("name"); field != nil {
			name, ok = at.text(field, at.child("name"))
		}
		if field := at.get("mountPath"); field != nil && ok {
			place, ok = at.text(field, at.child("mountPath"))
		}
		switch {
		case !ok:
		case name == "" && place != "":
			at.problemValue("mountPath", "names one place for the default storages, which can be several: name the storage")
		case name == "":
			at.mountDefaults(job, item, at.path, nil, options)
		default:
			at.mount(job, item, at.path, Mount{Name: name, Path: place}, options)
		}
	}
}

// teamStorages reads the storages of the plugin teamwise_storage. Without a list, they are
// the default ones of the user.
func (o object) teamStorages(job *Spec, p plugin, options ParseOptions) {
	n := o.get("storageConfigNames")
	switch {
	case n == nil:
		p.rolesAt.mountDefaults(job, p.rolesAt.fields["plugin"].Key, p.rolesAt.path, p.roles, options)
	case n.Kind == yaml.SequenceNode && len(n.Content) == 0:
	default:
		o.texts(n, o.child("storageConfigNames"), func(item *yaml.Node, path, name string) {
			o.mount(job, item, path, Mount{Name: name, Roles: p.roles}, options)
		})
	}
}

// mountDefaults mounts the default storages of the user.
func (o object) mountDefaults(job *Spec, at *yaml.Node, path string, roles []string, options ParseOptions) {
	for _, name := range options.DefaultStorages {
		o.mount(job, at, path, Mount{Name: name, Roles: roles}, options)
	}
	if len(options.DefaultStorages) == 0 && options.Storages != nil {
		o.Note(at, path, "you can use no default storage, so none is mounted")
	}
}

// mount adds a storage to a job, unless the job has it.
func (o object) mount(job *Spec, at *yaml.Node, place string, m Mount, options ParseOptions) {
	if strings.ContainsAny(m.Name, "/ \t\r\n") || len(m.Name) > maxMountPath {
		o.Problem(at, place, "%q is not the name of a storage", yamldoc.Shorten(m.Name))
		return
	}
	if m.Path == "" {
		m.Path = storageDir + "/" + m.Name
	}
	m.Path = strings.TrimRight(m.Path, "/")
	if wrong := mountProblem(m.Path); wrong != "" {
		o.Problem(at, place, "%s", wrong)
		return
	}
	for _, other := range job.Mounts {
		switch {
		case !share(m.Roles, other.Roles):
		case other.Name == m.Name && other.Path == m.Path && slices.Equal(other.Roles, m.Roles):
			return
		case below(m.Path, other.Path) || below(other.Path, m.Path):
			o.Problem(at, place, "storage %q at %s and storage %q at %s overlap: give one of them another mountPath",
				yamldoc.Shorten(other.Name), other.Path, yamldoc.Shorten(m.Name), m.Path)
			return
		}
	}
	if len(job.Mounts) == maxMounts {
		o.Problem(at, place, "the job mounts more than %d storages", maxMounts)
		return
	}
	if i := slices.IndexFunc(options.Storages, func(s pai.Storage) bool { return s.Name == m.Name }); i >= 0 {
		m.Storage = &options.Storages[i]
	}
	job.Mounts = append(job.Mounts, m)
	job.effect(place, "%s", m.effect())
}

// effect says what a mount does.
func (m Mount) effect() string {
	what := fmt.Sprintf("storage %s is at %s in %s", m.Name, m.Path, plugin{roles: m.Roles}.where())
	if m.Storage == nil {
		return what
	}
	if m.Storage.PerUser {
		what = fmt.Sprintf("your directory of storage %s is at %s in %s", m.Name, m.Path, plugin{roles: m.Roles}.where())
	}
	if m.Storage.ReadOnly {
		return what + ", read-only"
	}
	return what
}

// mountProblem is why nothing can be mounted at a place of a container; empty if it can.
func mountProblem(place string) string {
	switch {
	case place == "":
		return "mountPath: / is the whole container"
	case !path.IsAbs(place) || path.Clean(place) != place || len(place) > maxMountPath:
		return fmt.Sprintf("mountPath: %q must be an absolute path without . and .., of at most %d characters", yamldoc.Shorten(place), maxMountPath)
	case strings.ContainsFunc(place, func(r rune) bool { return r < ' ' || r == 0x7f || r == ':' }):
		return fmt.Sprintf("mountPath: %q must not have colons and control characters", yamldoc.Shorten(place))
	}
	for _, dir := range []string{"/dev", "/etc", "/proc", "/sys", scriptDir, secretDir} {
		if below(dir, place) || below(place, dir) {
			return fmt.Sprintf("mountPath: %s would hide %s, which tasks need", yamldoc.Shorten(place), dir)
		}
	}
	if slices.Contains([]string{"/bin", "/lib", "/lib32", "/lib64", "/libx32", "/run", "/sbin", "/tmp", "/usr/bin", "/usr/lib", "/usr/lib64", "/usr/sbin", "/var"}, place) {
		return fmt.Sprintf("mountPath: %s would hide a directory of the image that tasks need", place)
	}
	return ""
}

// below reports whether a clean absolute path is a directory or in it.
func below(dir, place string) bool { return place == dir || strings.HasPrefix(place, dir+"/") }

// share reports whether a task can be of both.
func share(a, b []string) bool {
	return len(a) == 0 || len(b) == 0 || slices.ContainsFunc(a, func(role string) bool { return slices.Contains(b, role) })
}

// mountStorages adds the storages of a task role to its pod, which names claims only.
func (j *Spec) mountStorages(role TaskRole, user string, spec *corev1.PodSpec, container *corev1.Container) {
	for _, m := range j.Mounts {
		if m.Storage == nil || len(m.Roles) > 0 && !slices.Contains(m.Roles, role.Name) {
			continue
		}
		name := "storage-" + m.Name
		if !slices.ContainsFunc(spec.Volumes, func(v corev1.Volume) bool { return v.Name == name }) {
			spec.Volumes = append(spec.Volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
				PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: m.Storage.Claim, ReadOnly: m.Storage.ReadOnly},
			}})
		}
		mount := corev1.VolumeMount{Name: name, MountPath: m.Path, ReadOnly: m.Storage.ReadOnly}
		if m.Storage.PerUser {
			mount.SubPath = user
		}
		container.VolumeMounts = append(container.VolumeMounts, mount)
	}
}
