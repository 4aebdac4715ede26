//go:build e2e

package service

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	clientrest "k8s.io/client-go/rest"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/poll"
	"pai.dev/pai/test/kubetest"
)

// right is something that an account can do although few can.
type right struct {
	account, verb, resource, namespace, name string
}

// rights lists every account of a service that can read or create a Secret, create pods, or
// reach kubelets, with the reason. Another one fails the test.
var rights = map[right]string{
	{"kueue-controller-manager", "list", "secrets", "pai-system", ""}: "it renews the certificate of its webhooks, and its cache lists the namespace; upstream asks for no single name",
	{"kueue-controller-manager", "get", "secrets", "pai-system", ""}:  "as list",
	{"jobset-controller", "list", "secrets", "pai-system", ""}:        "it renews the certificate of its webhooks, and its cache lists the namespace; upstream asks for no single name",
	{"jobset-controller", "get", "secrets", "pai-system", ""}:         "as list",
	{"jobset-controller", "create", "jobs", "", ""}:                   "the Jobs of a JobSet; the policy pai-jobset-jobs refuses those that reach a machine",

	{"kueue-controller-manager", "get", "secrets", "pai-system", "rest-server-users"}: "as list",
	{"jobset-controller", "get", "secrets", "pai-system", "rest-server-users"}:        "as list",
	{"rest-api", "get", "secrets", "pai-system", "rest-server-users"}:                 "it checks the tokens of its callers",

	{"rest-api", "create", "pods/exec", "pai-system", ""}:   "it reads the output of tasks in the pods that see it; the policy pai-rest-server-output refuses all other pods and commands",
	{"rest-api", "create", "secrets", "pai-vc-default", ""}: "the secrets of jobs, which it cannot read; the policy pai-rest-server-secrets refuses all others",
}

// Every account of a service has the rights that are listed with a reason, and no
// other one of those that open a machine or the cluster.
func TestRightsOfServices(t *testing.T) {
	t.Parallel()
	cluster := kubetest.Start(t)
	all := sources(t)
	newest := all[len(all)-1]
	accounts := map[string]bool{}
	objs := []*unstructured.Unstructured{namespaceOf(pai.SystemNamespace), namespaceOf("pai-vc-default"), namespaceOf("pai-vc-vision")}
	kinds := []string{"ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
	for _, pin := range newest.manifest.ServiceList {
		s := oneService(t, newest, pin.Name, nil)
		if pin.Chart != nil {
			s = oneService(t, newest, pin.Name, moduleChart(t, pin))
		}
		rendered, err := Render(t.Context(), s, testConfig(), newest)
		if err != nil {
			t.Fatal(err)
		}
		for _, obj := range rendered {
			if slices.Contains(kinds, obj.GetKind()) {
				objs = append(objs, obj)
			}
			if obj.GetKind() == "ServiceAccount" {
				accounts[obj.GetName()] = true
			}
		}
	}
	if _, err := cluster.Client.Apply(t.Context(), objs, kube.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	if len(accounts) < 4 {
		t.Fatalf("got accounts %v, want at least 4", accounts)
	}

	var asked []right
	for account := range accounts {
		for _, namespace := range []string{"", pai.SystemNamespace, "kube-system", "pai-vc-default"} {
			for _, verb := range []string{"get", "list"} {
				asked = append(asked, right{account, verb, "secrets", namespace, ""})
			}
			for _, resource := range []string{"secrets", "pods", "deployments.apps", "daemonsets.apps", "pods/exec", "serviceaccounts/token", "clusterrolebindings.rbac.authorization.k8s.io"} {
				asked = append(asked, right{account, "create", resource, namespace, ""})
			}
		}
		asked = append(asked, right{account, "create", "jobs", "", ""}, right{account, "create", "nodes/proxy", "", ""}, right{account, "patch", "nodes", "", ""},
			right{account, "get", "secrets", pai.SystemNamespace, "rest-server-users"})
	}
	for _, r := range asked {
		_, listed := rights[r]
		if got := can(t, cluster.Client.Clientset(), r); got != listed {
			t.Errorf("%+v: got allowed %v, want %v", r, got, listed)
		}
	}
	t.Run("policy of Jobs", func(t *testing.T) { policyOfJobs(t, cluster) })
}

func namespaceOf(name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name}}}
}

// can asks the API server what an account can do.
func can(t *testing.T, client kubernetes.Interface, r right) bool {
	t.Helper()
	full, group, _ := strings.Cut(r.resource, ".")
	resource, subresource, _ := strings.Cut(full, "/")
	if resource == "jobs" {
		group = "batch"
	}
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: "system:serviceaccount:" + pai.SystemNamespace + ":" + r.account, Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + pai.SystemNamespace, "system:authenticated"},
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: r.verb, Group: group, Resource: resource, Subresource: subresource, Namespace: r.namespace, Name: r.name},
	}}
	answer, err := client.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), review, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return answer.Status.Allowed
}

// policyOfJobs: the account of the JobSet controller cannot make the job controller
// start a pod that reaches its machine.
func policyOfJobs(t *testing.T, cluster *kubetest.Cluster) {
	as := clientrest.CopyConfig(cluster.Config)
	as.Impersonate = clientrest.ImpersonationConfig{UserName: "system:serviceaccount:pai-system:jobset-controller", Groups: []string{"system:serviceaccounts", "system:authenticated"}}
	controller, err := kubernetes.NewForConfig(as)
	if err != nil {
		t.Fatal(err)
	}
	create := func(namespace string, change func(*corev1.PodSpec)) error {
		pod := corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "task", Image: "x"}}}
		change(&pod)
		_, err := controller.BatchV1().Jobs(namespace).Create(t.Context(), &batchv1.Job{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "job-"}, Spec: batchv1.JobSpec{Suspend: new(true), Template: corev1.PodTemplateSpec{Spec: pod}},
		}, metav1.CreateOptions{})
		return err
	}
	hostPath := func(p *corev1.PodSpec) {
		p.Volumes = []corev1.Volume{{Name: "root", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}}}
	}
	refused := func(err error) bool { return err != nil && strings.Contains(err.Error(), "pai-jobset-jobs") }
	effect := poll.Wait{For: "an effect of the policy", Timeout: time.Minute, Every: 100 * time.Millisecond}
	if err := effect.Until(t.Context(), func(context.Context) (bool, error) { return refused(create("pai-vc-default", hostPath)), nil }); err != nil {
		t.Fatal(err)
	}
	if err := create("pai-vc-default", func(*corev1.PodSpec) {}); err != nil {
		t.Errorf("an ordinary Job: %v", err)
	}
	for name, change := range map[string]func(*corev1.PodSpec){
		"host path":    hostPath,
		"host network": func(p *corev1.PodSpec) { p.HostNetwork = true },
		"host PIDs":    func(p *corev1.PodSpec) { p.HostPID = true },
		"init container": func(p *corev1.PodSpec) {
			p.InitContainers = []corev1.Container{{Name: "a", Image: "a", SecurityContext: &corev1.SecurityContext{
				Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"BPF"}}}}}
		},
		"SYS_ADMIN": func(p *corev1.PodSpec) {
			p.Containers[0].SecurityContext = &corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"SYS_ADMIN"}}}
		},
		"account": func(p *corev1.PodSpec) { p.ServiceAccountName = "job-controller" },
	} {
		if err := create("kube-system", change); !refused(err) {
			t.Errorf("%s: got %v, want a refusal", name, err)
		}
	}
}
