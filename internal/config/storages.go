package config

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
)

// StoragesSince are the first services that have storages.
const StoragesSince = pai.ServicesVersion("v0.11")

const (
	// maxStorageName leaves space for what comes before and after it in the name of a volume
	// of a pod, which is a DNS label.
	maxStorageName = 40
	maxStorages    = 64
	maxStoragePath = 512
)

// storageKeys is storages.
func storageKeys() key {
	const onlyNew = "none; running and waiting jobs keep what they were submitted with"
	group := key{shape: text, format: groups()}
	storage := key{shape: object, format: labels(maxStorageName), keys: []key{
		{
			name: "type", shape: text, required: true, format: oneOf(pai.StorageNFS, pai.StorageDirectory), jobs: onlyNew,
			meaning: "`nfs`: the machine of a task mounts it from a server; `directory`: you mounted it on every machine; see [storages](operating.md#storages); a `paictl` before v0.11 refuses the section",
		},
		{name: "server", shape: text, format: servers(), def: "none", jobs: onlyNew, meaning: "name or IPv4 address of the NFS server; required for `nfs`"},
		{name: "path", shape: text, required: true, format: storagePaths(), jobs: onlyNew, meaning: "directory on the NFS server, or on every machine"},
		{name: "read-only", shape: flag, def: "false", jobs: onlyNew, meaning: "tasks cannot write"},
		{name: "per-user", shape: flag, def: "false", jobs: onlyNew, meaning: "a task mounts the directory with the name of its user, which is created, and not the rest"},
		{name: "default", shape: flag, def: "false", jobs: onlyNew, meaning: "jobs that ask for storages without a name get it"},
		{
			name: "groups", shape: list, item: &group, def: "none", jobs: onlyNew,
			meaning: "groups whose members can use it; `default` is all users. Without it, only administrators and groups with the right can",
		},
	}}
	return key{name: "storages", shape: table, item: &storage}
}

var (
	host  = regexp.MustCompile(`^[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?)*$`)
	group = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$`)
)

func servers() format {
	return format{name: "host name or IPv4 address", schema: map[string]any{"pattern": host.String(), "maxLength": 253}, check: func(value string) string {
		return problemUnless(len(value) <= 253 && host.MatchString(value), "%s is not a host name or an IPv4 address", quoted(value))
	}}
}

// groups are the names that the REST server gives to groups.
func groups() format {
	return format{name: "group", schema: map[string]any{"pattern": group.String()}, check: func(value string) string {
		return problemUnless(group.MatchString(value), "%s is not the name of a group", quoted(value))
	}}
}

// storagePaths are absolute paths that a mount command and a container take as they are.
func storagePaths() format {
	f := paths()
	f.schema["maxLength"] = maxStoragePath
	absolute := f.check
	f.check = func(value string) string {
		if wrong := absolute(value); wrong != "" {
			return wrong
		}
		if strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("\"'\\%$`,:", r) }) {
			return quoted(value) + " must have printable ASCII characters only, without spaces, quotes, commas, and colons"
		}
		return problemUnless(len(value) <= maxStoragePath, "%s has more than %d characters", quoted(value), maxStoragePath)
	}
	return f
}

// systemDirectories are those of a machine that no task can mount.
func systemDirectories() []string {
	return []string{
		"/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/lost+found", "/proc", "/root", "/run", "/sbin", "/sys", "/tmp", "/usr",
		"/var/backups", "/var/cache", "/var/lib", "/var/local", "/var/lock", "/var/log", "/var/mail", "/var/run", "/var/spool", "/var/tmp",
		layout.ProgramsDir, layout.ConfigDir, layout.StateDir, layout.KubernetesDir, layout.KubeletDir, layout.EtcdDir, layout.ContainerdDir,
	}
}

// storages checks what depends on several keys of a storage.
func (r rules) storages() {
	all := r.c.Services.Storages
	if len(all) > maxStorages {
		r.problem(ServicesFile, "storages", "storages: there are %d; the limit is %d", len(all), maxStorages)
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		s, at := all[name], "storages."+name
		switch {
		case s.Type == pai.StorageNFS && s.Server == "":
			r.problem(ServicesFile, at, "server is missing: name the NFS server of storage %s", quoted(name))
		case s.Type == pai.StorageDirectory && s.Server != "":
			r.problem(ServicesFile, at+".server", "server: a directory has no server: remove the key, or use type: nfs")
		}
		if s.Type != pai.StorageDirectory || path.Clean(s.Path) != s.Path || !path.IsAbs(s.Path) {
			continue
		}
		if wrong := directoryProblem(s.Path); wrong != "" {
			r.problem(ServicesFile, at+".path", "path: %s", wrong)
		}
		if taken := backupWithin(r.c.Kubernetes.Backup, s.Path); taken != "" {
			r.problem(ServicesFile, at+".path", "path: %s and %s, the directory of backups, overlap: jobs could change backups", quoted(s.Path), taken)
		}
	}
}

// directoryProblem is why tasks cannot mount a directory of their machine; empty if they can.
func directoryProblem(dir string) string {
	if dir == "/" {
		return "\"/\" is the whole machine: name a directory that is dedicated to the storage"
	}
	for _, system := range systemDirectories() {
		switch {
		case inDirectory(system, dir):
			return fmt.Sprintf("%s is in %s, which belongs to the machine", quoted(dir), system)
		case inDirectory(dir, system):
			return fmt.Sprintf("%s has %s, which belongs to the machine", quoted(dir), system)
		}
	}
	return ""
}

func backupWithin(b *Backup, dir string) string {
	if b == nil || b.To == "" || !inDirectory(dir, b.To) && !inDirectory(b.To, dir) {
		return ""
	}
	return b.To
}

// inDirectory reports whether a clean absolute path is a directory or below it.
func inDirectory(dir, value string) bool {
	return value == dir || strings.HasPrefix(value, path.Clean(dir)+"/")
}

// StorageList are the storages by name, with the names of their volumes.
func (s Services) StorageList() []pai.Storage {
	list := []pai.Storage{}
	for _, name := range slices.Sorted(maps.Keys(s.Storages)) {
		c := s.Storages[name]
		next := pai.Storage{
			Name: name, Type: c.Type, Server: c.Server, Path: c.Path, ReadOnly: c.ReadOnly, PerUser: c.PerUser, Default: c.Default,
			Groups: append([]string{}, c.Groups...),
		}
		next.Claim = next.ClaimName()
		list = append(list, next)
	}
	return list
}

// LocalStorages are those of a cluster that `paictl up` makes: a directory of the machine with a
// directory for each user, for all users. Jobs that ask for storages without a name get it.
func LocalStorages() map[string]Storage {
	return map[string]Storage{"default": {
		Type: pai.StorageDirectory, Path: layout.LocalStorage, PerUser: true, Default: true, Groups: []string{"default"},
	}}
}
