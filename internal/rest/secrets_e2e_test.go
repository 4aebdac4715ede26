//go:build e2e

package rest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/pai"
)

const secretValue = "s3cr3t-of-a-job"

// secretive is a job with a secret, access to a registry, and a key for ssh.
func secretive(name string) []byte {
	text := strings.Replace(string(protocol(name, "default")), "uri: pai.local/example:v1}",
		"uri: registry.example.com/a, auth: {username: robot, password: <% $secrets.password %>}}", 1)
	text = strings.Replace(text, "[sleep 1]", "[echo <% $secrets.password %>]", 1)
	return []byte(text + "secrets: {password: " + secretValue + "}\nextras: {com.microsoft.pai.runtimeplugin: [{plugin: ssh, parameters: {jobssh: true}}]}\n")
}

// The Secret of a job has its secrets, belongs to its texts, and is not readable through
// the REST server, which cannot read it either. A dry run creates nothing.
func TestSecretsOfJobsOnARealAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "default")
	ctx := t.Context()
	admin := client(t, w.access)
	id := JobID{"admin", "train"}
	secrets := w.cluster.Client.Clientset().CoreV1().Secrets("pai-vc-default")
	count := func() int {
		list, err := secrets.List(ctx, metav1.ListOptions{LabelSelector: pai.LabelJob})
		if err != nil {
			t.Fatal(err)
		}
		return len(list.Items) + len(w.configMaps(t, "pai-vc-default"))
	}

	would, err := admin.Preview(ctx, Submission{Protocol: secretive("train")})
	if err != nil || would.ID != "admin~train" || would.Tasks != 2 || !would.Secret || len(would.Effects) != 2 {
		t.Errorf("dry run: %+v, %v", would, err)
	}
	if _, err := admin.Get(ctx, id); pai.CodeOf(err) != pai.CodeNotFound || count() != 0 {
		t.Errorf("after the dry run: %v, %d objects", err, count())
	}
	if _, err := admin.Submit(ctx, Submission{Protocol: secretive("train")}); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.Preview(ctx, Submission{Protocol: secretive("train")}); pai.CodeOf(err) != pai.CodeConflict {
		t.Errorf("dry run of a name in use: %v", err)
	}
	set := mustFind(t, w, id)
	texts := w.configMaps(t, "pai-vc-default")[0]
	secret, err := secrets.Get(ctx, set.GetAnnotations()[job.AnnotationTexts], metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if owners := secret.OwnerReferences; len(owners) != 1 || owners[0].UID != texts.UID || secret.Type != corev1.SecretTypeDockerConfigJson || !*secret.Immutable {
		t.Errorf("the Secret is %+v", secret.ObjectMeta)
	}
	if !strings.Contains(string(secret.Data["script.worker"]), secretValue) || !strings.Contains(string(secret.Data["ssh-key"]), "OPENSSH PRIVATE KEY") {
		t.Errorf("the Secret has %d entries", len(secret.Data))
	}
	stored, err := json.Marshal([]any{set, texts})
	if err != nil || strings.Contains(string(stored), secretValue) {
		t.Errorf("the secret is in %s, %v", stored, err)
	}
	if text, err := admin.Protocol(ctx, id); err != nil || strings.Contains(string(text), secretValue) || !strings.Contains(string(text), "******") {
		t.Errorf("the text is %s, %v", text, err)
	}
	if _, err := w.core.cluster.Clientset().CoreV1().Secrets("pai-vc-default").Get(ctx, secret.Name, metav1.GetOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("the server reads the Secret: %v", err)
	}
}

// The API server holds the account of the REST server to the Secrets of jobs.
func TestServerCanCreateOnlySecretsOfJobs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "default")
	attempt := 0
	create := func(change func(o *unstructured.Unstructured)) error {
		attempt++
		o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "immutable": true}}
		o.SetName(fmt.Sprintf("texts-%d", attempt))
		o.SetNamespace("pai-vc-default")
		o.SetLabels(map[string]string{pai.LabelJob: "train"})
		o.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: o.GetName(), UID: "1"}})
		change(o)
		return w.core.cluster.Create(t.Context(), o)
	}
	token := func(o *unstructured.Unstructured) {
		o.Object["type"] = "kubernetes.io/service-account-token"
		o.SetAnnotations(map[string]string{"kubernetes.io/service-account.name": "default"})
	}
	eventually(t, "the policy has an effect", func() string {
		if err := create(token); err == nil || !strings.Contains(err.Error(), "ValidatingAdmissionPolicy") {
			return fmt.Sprint(err)
		}
		return ""
	})
	if err := create(func(*unstructured.Unstructured) {}); err != nil {
		t.Errorf("the Secret of a job: %v", err)
	}
	if err := w.core.cluster.PatchUnchanged(t.Context(), usersRef(), []byte(`{"data":{"group.team":"e30="}}`)); err != nil {
		t.Errorf("its users: %v", err)
	}
	for name, change := range map[string]func(o *unstructured.Unstructured){
		"token":             token,
		"certificate":       func(o *unstructured.Unstructured) { o.Object["type"] = "kubernetes.io/tls" },
		"without owner":     func(o *unstructured.Unstructured) { o.SetOwnerReferences(nil) },
		"of other texts":    func(o *unstructured.Unstructured) { o.SetName("other") },
		"of no job":         func(o *unstructured.Unstructured) { o.SetLabels(nil) },
		"can be changed":    func(o *unstructured.Unstructured) { o.Object["immutable"] = false },
		"another namespace": func(o *unstructured.Unstructured) { o.SetNamespace("pai-system") },
	} {
		if err := create(change); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
