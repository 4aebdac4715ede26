package job

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"pai.dev/pai/internal/pai"
)

const (
	// secretDir is where the container of a task has what the Secret of its job has for it.
	secretDir = "/usr/local/pai-secret"
	keySSH    = "ssh-key"
)

// secret is the Secret of a job; nil if it needs none.
func (j *Spec) secret(name string, labels map[string]string) (*unstructured.Unstructured, error) {
	data, kind := map[string]any{}, corev1.SecretTypeOpaque
	add := func(key string, value []byte) { data[key] = base64.StdEncoding.EncodeToString(value) }
	for _, role := range j.TaskRoles {
		if role.Secret {
			add(keyScript+roleObject(role.Name), []byte(taskScript(role)))
		}
	}
	if j.NeedsKey() {
		if j.SSHKey.Private == "" {
			return nil, errors.New("the job needs a key for ssh, and has none")
		}
		add(keySSH, []byte(j.SSHKey.Private))
	}
	if len(j.Registries) > 0 {
		access, err := j.registryAccess()
		if err != nil {
			return nil, err
		}
		add(corev1.DockerConfigJsonKey, access)
		kind = corev1.SecretTypeDockerConfigJson
	}
	if len(data) == 0 {
		return nil, nil
	}
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Secret", "type": string(kind), "immutable": true, "data": data}}
	o.SetName(name)
	o.SetNamespace(Namespace(j.VirtualCluster))
	o.SetLabels(with(labels, pai.LabelUser, labels[pai.LabelUser])) // a copy
	return o, nil
}

// registryAccess is the access to registries as the kubelet reads it.
func (j *Spec) registryAccess() ([]byte, error) {
	type access struct {
		Username string `json:"username"`
		Password string `json:"password"`
		Auth     string `json:"auth"`
	}
	auths := map[string]access{}
	for _, r := range j.Registries {
		auths[r.Address] = access{r.User, r.Password, base64.StdEncoding.EncodeToString([]byte(r.User + ":" + r.Password))}
	}
	data, err := json.Marshal(map[string]any{"auths": auths})
	if err != nil {
		return nil, fmt.Errorf("encode the access to registries: %w", err)
	}
	return data, nil
}

// secretItems are the files of the Secret that a task of a role has.
func (j *Spec) secretItems(role TaskRole) (items []corev1.KeyToPath) {
	if role.Secret {
		items = append(items, corev1.KeyToPath{Key: keyScript + roleObject(role.Name), Path: scriptFile})
	}
	if j.NeedsKey() {
		items = append(items, corev1.KeyToPath{Key: keySSH, Path: keySSH})
	}
	return items
}

func secretVolume(name string, items []corev1.KeyToPath) corev1.Volume {
	return corev1.Volume{Name: "secret", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
		SecretName:  name,
		Items:       items,
		DefaultMode: new(int32(0o444)), // the user of the image is unknown
		Optional:    new(false),
	}}}
}

// scriptOf is the file of the script of a task.
func scriptOf(role TaskRole) string {
	if role.Secret {
		return secretDir + "/" + scriptFile
	}
	return scriptDir + "/" + scriptFile
}
