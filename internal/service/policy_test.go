package service

import (
	"slices"
	"strings"
	"testing"

	admissionregistration "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/admission"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/test/policytest"
)

// policyOf is a policy of a service of the newest release.
func policyOf(t *testing.T, service, name string) admissionregistration.ValidatingAdmissionPolicy {
	t.Helper()
	return policyFor(t, testConfig(), service, name)
}

// policyFor is policyOf with a configuration.
func policyFor(t *testing.T, c *config.Config, service, name string) admissionregistration.ValidatingAdmissionPolicy {
	t.Helper()
	all := sources(t)
	newest := all[len(all)-1]
	rendered, err := Render(t.Context(), oneService(t, newest, service, nil), c, newest)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range rendered {
		if o.GetKind() == "ValidatingAdmissionPolicy" && o.GetName() == name {
			var p admissionregistration.ValidatingAdmissionPolicy
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &p); err != nil {
				t.Fatal(err)
			}
			return p
		}
	}
	t.Fatalf("%s has no policy %s", service, name)
	return admissionregistration.ValidatingAdmissionPolicy{}
}

// refusal is the message of the first rule of a policy that refuses a write; empty if none does.
func refusal(t *testing.T, p admissionregistration.ValidatingAdmissionPolicy, account string, op admission.Operation, o *unstructured.Unstructured) string {
	t.Helper()
	w := policytest.Write{Account: account, Resource: "secrets", New: o}
	if op == admission.Update {
		w.Old = o.DeepCopy()
	}
	return policytest.Refusal(t, p, w)
}

// The accounts of REST servers of this release, and of v0.10 and older.
const (
	restAPI            = "system:serviceaccount:" + pai.SystemNamespace + ":rest-api"
	previousRESTServer = "system:serviceaccount:" + pai.SystemNamespace + ":rest-server"
)

// Tasks have the network of their job. Only a server of v0.10, which runs until it is
// replaced, makes tasks without one.
func TestTasksHaveTheNetworkOfTheirJob(t *testing.T) {
	t.Parallel()
	policy := policyOf(t, "rest-server", "pai-rest-server-jobs")
	const message = "a task belongs to the network of its job"
	policy.Spec.Validations = slices.DeleteFunc(policy.Spec.Validations, func(v admissionregistration.Validation) bool { return v.Message != message })
	if len(policy.Spec.Validations) != 1 {
		t.Fatalf("got %d rules about networks, want 1", len(policy.Spec.Validations))
	}
	jobSet := func(annotations map[string]any) *unstructured.Unstructured {
		role := map[string]any{"name": "worker", "template": map[string]any{"spec": map[string]any{"template": map[string]any{"metadata": map[string]any{"annotations": annotations}}}}}
		o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "spec": map[string]any{"replicatedJobs": []any{role}}}}
		o.SetNamespace("pai-vc-default")
		o.SetName("train")
		return o
	}
	own, others, none := map[string]any{pai.AnnotationNetwork: "train"}, map[string]any{pai.AnnotationNetwork: "other"}, map[string]any{"a": "b"}
	for _, c := range []struct {
		name, account string
		annotations   map[string]any
		want          string
	}{
		{"its own", restAPI, own, ""},
		{"none", restAPI, none, message},
		{"that of another job", restAPI, others, message},
		{"none, of a server of v0.10", previousRESTServer, none, ""},
		{"that of another job, of a server of v0.10", previousRESTServer, others, message},
	} {
		if got := refusal(t, policy, c.account, admission.Create, jobSet(c.annotations)); got != c.want {
			t.Errorf("%s: got the refusal %q, want %q", c.name, got, c.want)
		}
	}
}

// A task can use the images of PAI, and must not replace one that its machine has.
func TestTasksReplaceNoImageOfPAI(t *testing.T) {
	t.Parallel()
	policy := policyOf(t, "rest-server", "pai-rest-server-jobs")
	const message = "a task must not pull an image of PAI that its machine has"
	policy.Spec.Validations = slices.DeleteFunc(policy.Spec.Validations, func(v admissionregistration.Validation) bool { return v.Message != message })
	if len(policy.Spec.Validations) != 1 {
		t.Fatalf("got %d rules about images, want 1", len(policy.Spec.Validations))
	}
	rule := &policy.Spec.Validations[0].Expression
	*rule = strings.ReplaceAll(*rule, "variables.pods", "object.spec.replicatedJobs.map(r, r.template.spec.template.spec)")
	for _, c := range []struct{ image, pull, want string }{
		{"pai.local/example:v0.11", "IfNotPresent", ""},
		{"pai.local/example:v0.11", "Never", ""},
		{"pai.local/kueue:v0.19.2", "Always", message},
		{"pai.local/kueue", "", message}, // the API server makes it Always
		{"docker.io/team/train:v3", "Always", ""},
		{"pai.local.example.com/train", "", ""},
	} {
		container := map[string]any{"name": "app", "image": c.image}
		if c.pull != "" {
			container["imagePullPolicy"] = c.pull
		}
		role := map[string]any{"template": map[string]any{"spec": map[string]any{"template": map[string]any{"spec": map[string]any{"containers": []any{container}}}}}}
		o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "jobset.x-k8s.io/v1alpha2", "kind": "JobSet", "spec": map[string]any{"replicatedJobs": []any{role}}}}
		o.SetNamespace("pai-vc-default")
		o.SetName("train")
		if got := refusal(t, policy, restAPI, admission.Create, o); got != c.want {
			t.Errorf("%s, %q: got the refusal %q, want %q", c.image, c.pull, got, c.want)
		}
	}
}

// The REST server makes the Secrets of jobs, and changes that of its users. The API server
// refuses everything else that its account writes.
func TestSecretsThatTheRESTServerWrites(t *testing.T) {
	t.Parallel()
	policy := policyOf(t, "rest-server", "pai-rest-server-secrets")
	secret := func(namespace, name string) *unstructured.Unstructured {
		o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Secret", "type": "Opaque"}}
		o.SetNamespace(namespace)
		o.SetName(name)
		return o
	}
	ofJob := func(namespace string) *unstructured.Unstructured {
		o := secret(namespace, "texts")
		o.Object["immutable"] = true
		o.SetLabels(map[string]string{pai.LabelJob: "train"})
		o.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "texts", UID: "1"}})
		return o
	}
	const server, previous = restAPI, previousRESTServer
	for _, c := range []struct {
		name    string
		account string
		op      admission.Operation
		object  *unstructured.Unstructured
		message string
	}{
		{"of a job", server, admission.Create, ofJob("pai-vc-default"), ""},
		{"the users", server, admission.Update, secret(pai.SystemNamespace, pai.UsersSecret), ""},
		{"new users by a server of v0.10", previous, admission.Create, secret(pai.SystemNamespace, pai.UsersSecret), "belong to the namespace"},
		{"of another account", "operator", admission.Create, secret("kube-system", "any"), ""},
		{"new users", server, admission.Create, secret(pai.SystemNamespace, pai.UsersSecret), "belong to the namespace"},
		{"another one of the system", server, admission.Update, secret(pai.SystemNamespace, "metrics-login"), "belong to the namespace"},
		{"users of a virtual cluster", server, admission.Update, secret("pai-vc-default", pai.UsersSecret), "never changes"},
		{"of a job in the system", server, admission.Create, ofJob(pai.SystemNamespace), "belong to the namespace"},
	} {
		got := refusal(t, policy, c.account, c.op, c.object)
		if (got == "") != (c.message == "") || !strings.Contains(got, c.message) {
			t.Errorf("%s: got the refusal %q, want %q", c.name, got, c.message)
		}
	}
}
