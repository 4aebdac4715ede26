package job

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// The texts of a job are stored once, in an immutable ConfigMap: the job as its user
// wrote it and the script of each task role. In a JobSet, each list of jobs would
// read them; in a pod, each task and each change of its status would store them
// again.
const (
	// KeyProtocol is the key of the job as its user wrote it.
	KeyProtocol = "protocol.yaml"
	keyScript   = "script." // and the object name of the task role

	// scriptDir is where the container of a task has its script.
	scriptDir  = "/usr/local/pai"
	scriptFile = "script"
)

// LabelPending marks texts whose JobSet might not exist yet. They belong to their
// JobSet once the label is removed, and are then deleted with it.
const LabelPending = "pai.dev/pending"

func (j *Spec) texts(name string, text []byte, labels map[string]string) *unstructured.Unstructured {
	data := map[string]any{KeyProtocol: string(text)}
	for _, role := range j.TaskRoles {
		data[keyScript+roleObject(role.Name)] = taskScript(role.Commands)
	}
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "immutable": true, "data": data}}
	o.SetName(name)
	o.SetNamespace(Namespace(j.VirtualCluster))
	o.SetLabels(with(labels, LabelPending, "true"))
	return o
}

func scriptVolume(role TaskRole, texts string) corev1.Volume {
	return corev1.Volume{Name: "script", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
		LocalObjectReference: corev1.LocalObjectReference{Name: texts},
		Items:                []corev1.KeyToPath{{Key: keyScript + roleObject(role.Name), Path: scriptFile}},
		DefaultMode:          new(int32(0o444)), // the user of the image is unknown
		Optional:             new(false),
	}}}
}
