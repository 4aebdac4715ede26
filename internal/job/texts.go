package job

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"pai.dev/pai/internal/pai"
)

// The texts of a job are stored once, in an immutable ConfigMap: the job as its user
// wrote it, the script of each task role, and what all tasks have in their environment. In a JobSet, each list of jobs would
// read them; in a pod, each task and each change of its status would store them
// again.
const (
	// KeyProtocol is the key of the job as its user wrote it.
	KeyProtocol = "protocol.yaml"
	keyScript   = "script." // and the object name of the task role

	// scriptDir is where the container of a task has its script.
	scriptDir       = "/usr/local/pai"
	scriptFile      = "script"
	environmentFile = "environment"
	keyEnvironment  = "environment"
)

// LabelPending marks texts whose JobSet might not exist yet. They belong to their
// JobSet once the label is removed, and are then deleted with it.
const LabelPending = "pai.dev/pending"

func (j *Spec) texts(name string, text []byte, labels map[string]string) *unstructured.Unstructured {
	if j.masked != nil {
		text = j.masked
	}
	data := map[string]any{KeyProtocol: string(text), keyEnvironment: j.addresses(labels[pai.LabelJob])}
	for _, role := range j.TaskRoles {
		if !role.Secret {
			data[keyScript+roleObject(role.Name)] = taskScript(role)
		}
	}
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "immutable": true, "data": data}}
	o.SetName(name)
	o.SetNamespace(Namespace(j.VirtualCluster))
	o.SetLabels(with(labels, LabelPending, "true"))
	return o
}

func scriptVolume(role TaskRole, texts string) corev1.Volume {
	items := []corev1.KeyToPath{{Key: keyEnvironment, Path: environmentFile}}
	if !role.Secret {
		items = append(items, corev1.KeyToPath{Key: keyScript + roleObject(role.Name), Path: scriptFile})
	}
	return corev1.Volume{Name: "script", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
		LocalObjectReference: corev1.LocalObjectReference{Name: texts},
		Items:                items,
		DefaultMode:          new(int32(0o444)), // the user of the image is unknown
		Optional:             new(false),
	}}}
}
