package config

import (
	"slices"
	"strings"

	"pai.dev/pai/internal/pai"
)

// Release holds the facts of one release that a check needs.
type Release struct {
	Pair pai.Pair
	// CompatibleSince is the oldest Kubernetes that its services run on.
	CompatibleSince pai.KubernetesVersion
	// Schema is the newest schema of configurations that came with it.
	Schema int
}

// versions compares the two versions with the known releases, if there are any.
func (r rules) versions() {
	if len(r.known) == 0 {
		return
	}
	const servicesPath, kubernetesPath = "cluster.common.release", "kubernetes.version"
	pair := r.c.Pair()
	services := slices.IndexFunc(r.known, func(k Release) bool { return pair.Services != "" && k.Pair.Services.Compare(pair.Services) == 0 })
	kubernetes := slices.ContainsFunc(r.known, func(k Release) bool {
		return pair.Kubernetes != "" && k.Pair.Kubernetes.Compare(pair.Kubernetes) == 0
	})
	if services < 0 && checkRelease(string(pair.Services)) == "" {
		r.problem(ServicesFile, servicesPath, "release: release %s not found; known releases: %s", pair.Services, r.all(func(k Release) string { return string(k.Pair.Services) }))
	}
	if !kubernetes && checkKubernetesVersion(string(pair.Kubernetes)) == "" {
		r.problem(KubernetesFile, kubernetesPath, "version: no release has Kubernetes %s; known versions: %s", pair.Kubernetes, r.all(func(k Release) string { return string(k.Pair.Kubernetes) }))
	}
	if services < 0 || !kubernetes {
		return
	}
	if row := r.known[services]; !pair.Kubernetes.AtLeast(row.CompatibleSince) {
		r.problem(ServicesFile, servicesPath, "release: the support plan does not allow services %s on Kubernetes %s: they need %s or newer (%s:%d)",
			pair.Services, pair.Kubernetes, row.CompatibleSince, KubernetesFile, r.line(KubernetesFile, kubernetesPath))
	}
}

func (r rules) all(of func(Release) string) string {
	var names []string
	for _, k := range r.known {
		names = append(names, of(k))
	}
	return strings.Join(names, ", ")
}
