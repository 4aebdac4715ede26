package service

import (
	"maps"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/admission"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/pai"
)

// storagesConfig has a storage of each kind.
func storagesConfig() *config.Config {
	c := testConfig()
	c.Services.Storages = map[string]config.Storage{
		"data":    {Type: pai.StorageNFS, Server: "nas", Path: "/export/data", ReadOnly: true, Groups: []string{"default"}},
		"scratch": {Type: pai.StorageDirectory, Path: "/mnt/scratch", PerUser: true, Default: true},
		"models":  {Type: pai.StorageNFS, Server: "10.0.0.9", Path: "/models"},
	}
	return c
}

// rendered are the objects of the REST server of the newest release, by kind and name.
func rendered(t *testing.T, c *config.Config) map[string]*unstructured.Unstructured {
	t.Helper()
	all := sources(t)
	newest := all[len(all)-1]
	objs, err := Render(t.Context(), oneService(t, newest, "rest-server", nil), c, newest)
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]*unstructured.Unstructured{}
	for _, o := range objs {
		byName[o.GetKind()+"/"+o.GetNamespace()+"/"+o.GetName()] = o
	}
	return byName
}

// Each storage is a volume and a claim in each virtual cluster, which belong to one another
// and to nothing else.
func TestStoragesAreVolumes(t *testing.T) {
	t.Parallel()
	c := storagesConfig()
	objs := rendered(t, c)
	for _, s := range c.Services.StorageList() {
		for vc := range c.Services.VirtualClusters {
			var pv corev1.PersistentVolume
			var claim corev1.PersistentVolumeClaim
			for name, into := range map[string]any{"PersistentVolume//" + s.Volume(vc): &pv, "PersistentVolumeClaim/pai-vc-" + vc + "/" + s.Claim: &claim} {
				if objs[name] == nil {
					t.Fatalf("storage %s has no %s", s.Name, name)
				}
				if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(objs[name].Object, into, true); err != nil {
					t.Fatal(err)
				}
			}
			if pv.Spec.ClaimRef.Name != claim.Name || pv.Spec.ClaimRef.Namespace != claim.Namespace || claim.Spec.VolumeName != pv.Name {
				t.Errorf("%s: the volume is for %v, and the claim wants %s", s.Name, pv.Spec.ClaimRef, claim.Spec.VolumeName)
			}
			if pv.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimRetain {
				t.Errorf("%s: got the policy %s, want Retain: the data belongs to the operator", s.Name, pv.Spec.PersistentVolumeReclaimPolicy)
			}
			checkSource(t, s, pv.Spec)
		}
	}
	if volumes := count(objs, "PersistentVolume/"); volumes != 6 {
		t.Errorf("got %d volumes, want 6", volumes)
	}
	if none := rendered(t, testConfig()); count(none, "PersistentVolume") != 0 {
		t.Error("a configuration without storages has volumes")
	}
}

func checkSource(t *testing.T, s pai.Storage, spec corev1.PersistentVolumeSpec) {
	t.Helper()
	options := strings.Join(spec.MountOptions, ",")
	switch {
	case s.Type == pai.StorageDirectory:
		if p := spec.HostPath; spec.NFS != nil || p == nil || p.Path != s.Path || *p.Type != corev1.HostPathDirectory {
			t.Errorf("%s: got %v, want a directory that exists", s.Name, spec.PersistentVolumeSource)
		}
	case spec.HostPath != nil || spec.NFS == nil || spec.NFS.Server != s.Server || spec.NFS.Path != s.Path:
		t.Errorf("%s: got %v", s.Name, spec.PersistentVolumeSource)
	case !strings.HasPrefix(options, "hard,nosuid,nodev") || strings.HasSuffix(options, ",ro") != s.ReadOnly:
		t.Errorf("%s: got the options %s", s.Name, options)
	}
}

func count(objs map[string]*unstructured.Unstructured, prefix string) (n int) {
	for name := range maps.Keys(objs) {
		if strings.HasPrefix(name, prefix) {
			n++
		}
	}
	return n
}

// Kubernetes does not change the source of a volume, so a storage with another source has
// other names, and running jobs keep the volume that they have.
func TestAnotherSourceIsAnotherVolume(t *testing.T) {
	t.Parallel()
	first := pai.Storage{Name: "data", Type: pai.StorageNFS, Server: "nas", Path: "/data"}
	for _, other := range []pai.Storage{
		{Name: "data", Type: pai.StorageNFS, Server: "nas2", Path: "/data"}, {Name: "data", Type: pai.StorageNFS, Server: "nas", Path: "/data2"},
		{Name: "data", Type: pai.StorageDirectory, Path: "/data"}, {Name: "data", Type: pai.StorageNFS, Server: "nas", Path: "/data", ReadOnly: true},
		{Name: "sets", Type: pai.StorageNFS, Server: "nas", Path: "/data"},
	} {
		if other.ClaimName() == first.ClaimName() {
			t.Errorf("%v has the claim of %v", other, first)
		}
	}
	same := first
	same.Groups, same.PerUser, same.Default = []string{"default"}, true, true
	if same.ClaimName() != first.ClaimName() {
		t.Error("groups changed the volume")
	}
	if long := (pai.Storage{Name: strings.Repeat("a", 40)}).ClaimName(); len(long) > 63 {
		t.Errorf("%s has %d characters", long, len(long))
	}
}

// A server in other hands mounts no directory of a machine, no volume that is no storage,
// and no directory of another user.
func TestTasksMountOnlyStorages(t *testing.T) {
	t.Parallel()
	c := storagesConfig()
	policy := policyFor(t, c, "rest-server", "pai-rest-server-jobs")
	claims := map[string]string{}
	for _, s := range c.Services.StorageList() {
		claims[s.Name] = s.Claim
	}
	const (
		onlyStorages = "a task can have only empty volumes, the storages of the configuration, and the texts and the Secret of its job"
		readOnly     = "a task must not write to a storage that is read-only"
		ownDirectory = "a task has only the directory of its user"
	)
	claim := func(name string, ro bool) map[string]any {
		return map[string]any{"name": "v", "persistentVolumeClaim": map[string]any{"claimName": name, "readOnly": ro}}
	}
	mount := func(fields ...string) map[string]any {
		m := map[string]any{"name": "v", "mountPath": "/mnt/v"}
		for i := 0; i+1 < len(fields); i += 2 {
			m[fields[i]] = fields[i+1]
		}
		return m
	}
	for _, k := range []struct {
		name          string
		volume, mount map[string]any
		user, want    string
	}{
		{"a storage", claim(claims["models"], false), mount(), "alice", ""},
		{"reading", claim(claims["data"], true), mount(), "alice", ""},
		{"writing what is read-only", claim(claims["data"], false), mount(), "alice", readOnly},
		{"the directory of the user", claim(claims["scratch"], false), mount("subPath", "alice"), "alice", ""},
		{"all directories", claim(claims["scratch"], false), mount(), "alice", ownDirectory},
		{"the directory of another user", claim(claims["scratch"], false), mount("subPath", "bob"), "alice", ownDirectory},
		{"a directory by a variable", claim(claims["scratch"], false), mount("subPathExpr", "$(A)"), "alice", ownDirectory},
		{"no user", claim(claims["scratch"], false), mount(), "", ownDirectory},
		{"another claim", claim("other", false), mount(), "alice", onlyStorages},
		{"an older source", claim("storage-models-0000000000", false), mount(), "alice", onlyStorages},
		{"a directory of the machine", map[string]any{"name": "v", "hostPath": map[string]any{"path": "/mnt/scratch"}}, mount(), "alice", onlyStorages},
		{"a server of its choice", map[string]any{"name": "v", "nfs": map[string]any{"server": "nas", "path": "/"}}, mount(), "alice", onlyStorages},
		{"a new claim", map[string]any{"name": "v", "ephemeral": map[string]any{}}, mount(), "alice", onlyStorages},
	} {
		for _, account := range []string{restAPI, previousRESTServer} {
			if got := refusal(t, policy, account, admission.Create, jobWith(k.volume, k.mount, k.user)); got != k.want {
				t.Errorf("%s: got the refusal %q, want %q", k.name, got, k.want)
			}
		}
	}
	without := policyFor(t, testConfig(), "rest-server", "pai-rest-server-jobs")
	if got := refusal(t, without, restAPI, admission.Create, jobWith(claim(claims["models"], false), mount(), "alice")); got != onlyStorages {
		t.Errorf("without storages: got the refusal %q", got)
	}
}

// jobWith is a JobSet whose task has one volume.
func jobWith(volume, mount map[string]any, user string) *unstructured.Unstructured {
	pod := map[string]any{
		"automountServiceAccountToken": false, "volumes": []any{volume},
		"containers": []any{map[string]any{"name": "task", "image": "example", "volumeMounts": []any{mount}}},
	}
	template := map[string]any{"metadata": map[string]any{"annotations": map[string]any{pai.AnnotationNetwork: "train"}}, "spec": pod}
	role := map[string]any{"name": "worker", "template": map[string]any{"spec": map[string]any{"template": template}}}
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "spec": map[string]any{"replicatedJobs": []any{role}}}}
	o.SetNamespace("pai-vc-default")
	o.SetName("train")
	o.SetLabels(map[string]string{pai.LabelJob: "train"})
	if user != "" {
		o.SetLabels(map[string]string{pai.LabelUser: user})
	}
	return o
}
