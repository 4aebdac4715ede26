package job

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"pai.dev/pai/internal/pai"
)

// storagesOfTest are the storages of a cluster. A user has two of them by default.
var storagesOfTest = ParseOptions{
	Storages: []pai.Storage{
		{Name: "data", Type: pai.StorageNFS, Claim: "storage-data-1", ReadOnly: true, Default: true},
		{Name: "home", Type: pai.StorageDirectory, Claim: "storage-home-2", PerUser: true, Default: true},
		{Name: "models", Type: pai.StorageNFS, Claim: "storage-models-3"},
	},
	DefaultStorages: []string{"data", "home"},
}

func withExtras(extras string) []byte {
	return []byte(`protocolVersion: 2
name: train
type: job
prerequisites: [{name: image, type: dockerimage, uri: a}]
taskRoles:
  worker: {instances: 1, dockerImage: image, resourcePerInstance: {cpu: 1, memoryMB: 64, gpu: 0}, commands: [train]}
  ps: {instances: 1, dockerImage: image, resourcePerInstance: {cpu: 1, memoryMB: 64, gpu: 0}, commands: [serve]}
extras: ` + extras + "\n")
}

// mounts are the storages in the pod of a task role: NAME=CLAIM at PATH, and what limits it.
func mounts(t *testing.T, j *Spec, role int) (list []string) {
	t.Helper()
	pod := j.podSpec(j.TaskRoles[role], "alice", "texts")
	for _, m := range pod.Containers[0].VolumeMounts {
		i := slices.IndexFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name })
		if i < 0 {
			t.Fatalf("%s has no volume", m.Name)
		}
		claim := pod.Volumes[i].PersistentVolumeClaim
		if claim == nil {
			continue
		}
		if claim.ReadOnly != m.ReadOnly {
			t.Errorf("%s: the volume and its mount differ in read-only", m.Name)
		}
		text := m.Name + "=" + claim.ClaimName + " at " + m.MountPath
		if m.ReadOnly {
			text += " ro"
		}
		if m.SubPath != "" {
			text += " sub " + m.SubPath
		}
		list = append(list, text)
	}
	return list
}

func TestStoragesOfAJob(t *testing.T) {
	t.Parallel()
	const (
		data   = "storage-data=storage-data-1 at /mnt/data ro"
		home   = "storage-home=storage-home-2 at /mnt/home sub alice"
		models = "storage-models=storage-models-3 at /mnt/models"
	)
	plugin := func(rest string) string {
		return "{com.microsoft.pai.runtimeplugin: [{plugin: teamwise_storage" + rest + "}]}"
	}
	for _, c := range []struct {
		name, extras string
		worker, ps   []string
	}{
		{"none", "{submitFrom: test}", nil, nil},
		{"an empty list", "{storages: []}", nil, nil},
		{"by name", "{storages: [{name: models}]}", []string{models}, []string{models}},
		{"at a place", "{storages: [{name: models, mountPath: /models/}]}", []string{"storage-models=storage-models-3 at /models"}, []string{"storage-models=storage-models-3 at /models"}},
		{"read-only, and the directory of a user", "{storages: [{name: data}, {name: home}]}", []string{data, home}, []string{data, home}},
		{"at two places", "{storages: [{name: data}, {name: data, mountPath: /data}]}", []string{data, "storage-data=storage-data-1 at /data ro"}, []string{data, "storage-data=storage-data-1 at /data ro"}},
		{"the default ones", "{storages: [{}]}", []string{data, home}, []string{data, home}},
		{"the same twice", "{storages: [{}, {name: data}]}", []string{data, home}, []string{data, home}},
		{"plugin", plugin(", parameters: {storageConfigNames: [models]}"), []string{models}, []string{models}},
		{"plugin without names", plugin(", parameters: {}"), []string{data, home}, []string{data, home}},
		{"plugin without parameters", plugin(""), []string{data, home}, []string{data, home}},
		{"plugin with an empty list", plugin(", parameters: {storageConfigNames: []}"), nil, nil},
		{"plugin in a task role", plugin(", taskroles: [worker], parameters: {storageConfigNames: [models]}"), []string{models}, nil},
		{"unknown, which who submits refuses", "{storages: [{name: nothing}]}", nil, nil},
	} {
		j, _, err := Parse(withExtras(c.extras), storagesOfTest)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		worker, ps := mounts(t, j, 0), mounts(t, j, 1)
		if !slices.Equal(worker, c.worker) || !slices.Equal(ps, c.ps) {
			t.Errorf("%s: got %q and %q, want %q and %q", c.name, worker, ps, c.worker, c.ps)
		}
	}
}

func TestWhereStoragesCannotBe(t *testing.T) {
	t.Parallel()
	for _, place := range []string{
		"/", "//", "data", "./data", "/data/..", "/data/../etc", "/data//x", "/etc", "/etc/ssl", "/proc/1", "/sys", "/dev", "/dev/shm", "/usr", "/usr/local", "/usr/local/pai",
		"/usr/local/pai/script", "/usr/local/pai-secret/x", "/bin", "/lib64", "/tmp", "/a:b", "/" + strings.Repeat("a", 600),
	} {
		_, _, err := Parse(withExtras(fmt.Sprintf("{storages: [{name: data, mountPath: %q}]}", place)), storagesOfTest)
		if err == nil || !strings.Contains(err.Error(), "mountPath") {
			t.Errorf("%s: got %v, want a refusal", place, err)
		}
	}
	for _, place := range []string{"/data", "/mnt", "/home/alice", "/root/data", "/usr/local/share/data", "/opt/data", "/tmp/data", "/mnt/data/"} {
		if _, _, err := Parse(withExtras(fmt.Sprintf("{storages: [{name: data, mountPath: %q}]}", place)), storagesOfTest); err != nil {
			t.Errorf("%s: %v", place, err)
		}
	}
	for _, extras := range []string{
		"{storages: {name: data}}", "{storages: [data]}", "{storages: [{name: [data]}]}", "{storages: [{name: ../x}]}", "{storages: [{name: data, subPath: x}]}",
		"{storages: [" + strings.TrimSuffix(strings.Repeat("{name: s%d}, ", 33), ", ") + "]}",
	} {
		if strings.Contains(extras, "%d") {
			numbers := make([]any, 33)
			for i := range numbers {
				numbers[i] = i
			}
			extras = fmt.Sprintf(extras, numbers...)
		}
		if _, _, err := Parse(withExtras(extras), storagesOfTest); err == nil {
			t.Errorf("%s: accepted", extras)
		}
	}
}

// A dry run says what is mounted, and a user without default storages learns it.
func TestStoragesAreExplained(t *testing.T) {
	t.Parallel()
	j, _, err := Parse(withExtras("{storages: [{}]}"), storagesOfTest)
	if err != nil {
		t.Fatal(err)
	}
	got, _ := json.Marshal(j.Preview().Effects)
	for _, want := range []string{"storage data is at /mnt/data in each task, read-only", "your directory of storage home is at /mnt/home in each task"} {
		if !strings.Contains(string(got), want) {
			t.Errorf("got %s, want %q", got, want)
		}
	}
	without := ParseOptions{Storages: storagesOfTest.Storages}
	_, notes, err := Parse(withExtras("{storages: [{}]}"), without)
	if err != nil || !strings.Contains(fmt.Sprint(notes), "you can use no default storage") {
		t.Errorf("got %v, %v", notes, err)
	}
}
