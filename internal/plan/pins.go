package plan

import (
	"fmt"
	"slices"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/release"
)

// The program names that pins speak of, as release manifests spell them.
const (
	programKubernetes = "kubernetes"
	programEtcd       = "etcd"
)

// PinsOf reads the pins of every Kubernetes version out of release manifests.
// Where several releases bring one Kubernetes version, the oldest one says
// what it consists of: the directory of a version never changes.
func PinsOf(releases []release.Manifest) Pins {
	oldestFirst := slices.SortedStableFunc(slices.Values(releases), func(a, b release.Manifest) int {
		return a.Metadata.Name.Compare(b.Metadata.Name)
	})
	pins := Pins{}
	for _, r := range oldestFirst {
		if pins[r.Kubernetes.Version] != nil {
			continue
		}
		of := map[string]string{}
		for _, p := range r.Programs {
			of[p.Name] = p.Version
		}
		of[programKubernetes] = r.Kubernetes.Upstream
		pins[r.Kubernetes.Version] = of
	}
	return pins
}

// programsOf names the programs that a role is made of.
func programsOf(r Role) []string {
	switch r {
	case RoleRuntime:
		return []string{"containerd", "runc", "cni"}
	case RoleEtcdA, RoleEtcdB:
		return []string{programEtcd}
	case RoleAPIProxy:
		return []string{"api-proxy"}
	case RoleNetwork:
		return []string{"network"}
	case RoleGPU:
		return []string{"gpu"}
	default:
		return []string{programKubernetes}
	}
}

// same reports whether a role consists of the same programs in two versions.
// What is not pinned in both counts as different.
func (p Pins) same(r Role, a, b pai.KubernetesVersion) bool {
	for _, program := range programsOf(r) {
		va, vb := p[a.Label()][program], p[b.Label()][program]
		if va == "" || va != vb {
			return false
		}
	}
	return true
}

// nodeSkew is how many upstream minors a kubelet and a kube-proxy may be behind
// the API server (Kubernetes' version skew policy).
const nodeSkew = 3

// behind is how many upstream minors a is behind b; ok is false where one of
// them is not known.
func (p Pins) behind(a, b pai.KubernetesVersion) (minors int, ok bool) {
	ma, errA := upstreamMinor(p[a.Label()][programKubernetes])
	mb, errB := upstreamMinor(p[b.Label()][programKubernetes])
	return mb - ma, errA == nil && errB == nil
}

// etcdBehind is how many minors the etcd of a is behind that of b; ok is false if one
// of them is unknown or the majors differ.
func (p Pins) etcdBehind(a, b pai.KubernetesVersion) (minors int, ok bool) {
	majorA, minorA, okA := etcdMinor(p[a.Label()][programEtcd])
	majorB, minorB, okB := etcdMinor(p[b.Label()][programEtcd])
	return minorB - minorA, okA && okB && majorA == majorB
}

// etcdMinor reads "v3.6.16".
func etcdMinor(v string) (major, minor int, ok bool) {
	var patch int
	n, err := fmt.Sscanf(v, "v%d.%d.%d", &major, &minor, &patch)
	return major, minor, err == nil && n == 3
}
