package job

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"
)

const withSecrets = good + `      - echo <% $secrets.token %>
  ps:
    dockerImage: image
    resourcePerInstance: {cpu: 1, memoryMB: 64, gpu: 0}
    commands: [serve] # not s3cr3t-token, but this
secrets:
  token: s3cr3t-token # s3cr3t-token
  pin: 4711
  unused: {a: never-shown-1}
`

// The value of a secret is in the Secret of the job and nowhere else: in no other object,
// no problem, and no note.
func TestSecretsAreInTheSecretOnly(t *testing.T) {
	t.Parallel()
	text := strings.Replace(withSecrets, "  unused: {a: never-shown-1}\n", "", 1)
	text = strings.Replace(text, "uri: pai.local/example:v0.10", "uri: registry.example.com/a, auth: {username: robot, password: literal-password}", 1)
	spec, notes, err := Parse([]byte(text), ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(notes) != 1 || notes[0].String() != "20:8: secrets.pin: nothing refers to it" {
		t.Errorf("notes: %v", notes)
	}
	o, err := spec.Objects("alice", []byte(text), "texts")
	if err != nil {
		t.Fatal(err)
	}
	stored, err := json.Marshal([]any{o.Texts, o.JobSet})
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"s3cr3t-token", "4711", "literal-password"} {
		if strings.Contains(string(stored), secret) {
			t.Errorf("%s is in\n%s", secret, stored)
		}
	}
	protocol := o.Texts.Object["data"].(map[string]any)[KeyProtocol].(string)
	for _, want := range []string{`token: "******" # ******`, `pin: "******"`, `password: "******"`, "echo <% $secrets.token %>", "# not ******, but this"} {
		if !strings.Contains(protocol, want) {
			t.Errorf("the text has no %s:\n%s", want, protocol)
		}
	}
	if _, _, err := Parse([]byte(protocol), ParseOptions{}); err != nil {
		t.Errorf("the text that is shown: %v", err)
	}
	data := o.Secret.Object["data"].(map[string]any)
	script, _ := base64.StdEncoding.DecodeString(data["script.worker"].(string))
	access, _ := base64.StdEncoding.DecodeString(data[corev1.DockerConfigJsonKey].(string))
	if !strings.Contains(string(script), "echo s3cr3t-token") || !strings.Contains(string(access), `"registry.example.com":{"username":"robot","password":"literal-password"`) {
		t.Errorf("the Secret has %s and %s", script, access)
	}
	if _, has := data["script.ps"]; has || o.Secret.Object["type"] != string(corev1.SecretTypeDockerConfigJson) {
		t.Errorf("the Secret is %v", o.Secret.Object)
	}
	pod := spec.podSpec(spec.TaskRoles[0], "alice", "texts")
	if len(pod.ImagePullSecrets) != 1 || pod.ImagePullSecrets[0].Name != "texts" || pod.Containers[0].Command[4] != "/usr/local/pai-secret/script" {
		t.Errorf("the pod is %+v", pod)
	}
}

func TestProblemsNeverShowSecrets(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"a mapping for a value": withSecrets,
		"a list":                strings.Replace(withSecrets, "secrets:\n  token", "secrets:\n  - token", 1),
		"a text":                good + "secrets: never-shown-2\n",
		"a password in a list":  strings.Replace(good, "uri: pai.local/example:v0.10", "uri: a/b, auth: {username: u, password: [never-shown-3]}", 1),
		"a user without it":     strings.Replace(good, "uri: pai.local/example:v0.10", "uri: a/b, auth: {password: never-shown-4}", 1),
		"a reference to none":   strings.Replace(good, "echo hello", "echo <% $secrets.other %>", 1) + "secrets: {one: never-shown-5}\n",
		"one in a plugin": good + "secrets: {one: never-shown-6}\nextras:\n  com.microsoft.pai.runtimeplugin:\n" +
			"    - {plugin: tensorboard, parameters: {port: 6006, logdir: {a: <% $secrets.one %>}}}\n",
	} {
		_, notes, err := Parse([]byte(text), ParseOptions{})
		var all strings.Builder
		for _, n := range notes {
			all.WriteString(n.String())
		}
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		all.WriteString(err.Error())
		if strings.Contains(all.String(), "never-shown") || strings.Contains(all.String(), "s3cr3t") {
			t.Errorf("%s: %s", name, all.String())
		}
	}
}

// A job without secrets is kept as it was written.
func TestTextWithoutSecretsStays(t *testing.T) {
	t.Parallel()
	spec, _, err := Parse([]byte(good), ParseOptions{})
	if err != nil {
		t.Fatal(err)
	}
	o, err := spec.Objects("alice", []byte(good), "texts")
	if err != nil || o.Secret != nil || o.Texts.Object["data"].(map[string]any)[KeyProtocol] != good {
		t.Errorf("got %v, %v", o.Texts, err)
	}
}

// Whatever the value of a secret is, the text that is shown does not have it.
func TestMaskedTextHasNoSecret(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.StringMatching(`[A-Z][a-zA-Z0-9 .:#'"{}*&!-]{7,30}[A-Z]`).Draw(t, "value")
		quoted, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Replace(withSecrets, "  token: s3cr3t-token # s3cr3t-token\n", "  token: "+string(quoted)+"\n", 1)
		text = strings.Replace(text, "  unused: {a: never-shown-1}\n", "", 1)
		spec, _, err := Parse([]byte(text), ParseOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(spec.masked), value) || strings.Contains(string(spec.masked), string(quoted)) {
			t.Fatalf("%s is in\n%s", value, spec.masked)
		}
	})
}

func TestRegistries(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ uri, auth, address, problem string }{
		{"a/b", "{username: u, password: p}", "https://index.docker.io/v1/", ""},
		{"a/b", "{username: u, password: p, registryuri: docker.io}", "https://index.docker.io/v1/", ""},
		{"r.example.com:5000/a/b", "{username: u, password: p}", "r.example.com:5000", ""},
		{"a/b", "{username: u, password: p, registryuri: 'https://r.example.com'}", "https://r.example.com", ""},
		{"a/b", "{}", "", ""},
		{"a/b", "{username: u}", "", "needs username and password"},
		{"a/b", "{username: 'u:v', password: p}", "", "must not contain a colon"},
		{"a/b", "{username: u, password: p, registryuri: 'a b'}", "", "is not the address of a registry"},
	} {
		spec, _, err := Parse([]byte(strings.Replace(good, "uri: pai.local/example:v0.10", "uri: '"+c.uri+"', auth: "+c.auth, 1)), ParseOptions{})
		switch {
		case c.problem != "":
			if err == nil || !strings.Contains(err.Error(), c.problem) {
				t.Errorf("%+v: got %v", c, err)
			}
		case err != nil || len(spec.Registries) != 1 && c.address != "" || c.address != "" && spec.Registries[0].Address != c.address:
			t.Errorf("%+v: got %v, %v", c, spec.Registries, err)
		}
	}
}
