//go:build e2e

package rest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	clientrest "k8s.io/client-go/rest"

	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
)

// The API server holds the account of the REST server to jobs that get nothing of
// their machine, whatever the server does. Jobs of this release and of v0.10 are
// accepted.
func TestServerCanCreateOnlyContainedJobs(t *testing.T) {
	w := newWorld(t, "default", "debug")
	server := w.core.cluster
	submitted := func(name string) *unstructured.Unstructured {
		j, _, err := job.Parse(protocol(name, "default"), job.ParseOptions{VirtualClusters: []string{"default", "debug"}})
		if err != nil {
			t.Fatal(err)
		}
		objects, err := j.Objects("alice", protocol(name, "default"), name+"-texts")
		if err != nil {
			t.Fatal(err)
		}
		return objects.JobSet
	}
	w.awaitPolicy(t, submitted("probe"))

	previous := w.previousServer(t)
	t.Run("accepted", func(t *testing.T) {
		if err := server.Create(t.Context(), submitted("new")); err != nil {
			t.Error(err)
		}
		for _, name := range []string{"train", "minimal"} { // as v0.10 rendered them
			data, err := os.ReadFile(filepath.Join(root, "internal/job/testdata/published", name+".json"))
			if err != nil {
				t.Fatal(err)
			}
			older := &unstructured.Unstructured{}
			if err := json.Unmarshal(data, older); err != nil {
				t.Fatal(err)
			}
			older.SetNamespace(job.Namespace("default"))
			if err := server.Create(t.Context(), older.DeepCopy()); err == nil || !strings.Contains(err.Error(), "the network of its job") {
				t.Errorf("the job %s of v0.10 by a server of v0.11: got %v, want a refusal", name, err)
			}
			if err := previous.Create(t.Context(), older); err != nil {
				t.Errorf("the job %s of v0.10: %v", name, err)
			}
		}
		withGrant := submitted("granted")
		withGrant.SetNamespace(job.Namespace("debug"))
		change(t, withGrant, `{"containers":[{"securityContext":{"capabilities":{"add":["CHOWN","SYS_PTRACE"]}}}]}`)
		if err := server.Create(t.Context(), withGrant); err != nil {
			t.Errorf("a granted capability: %v", err)
		}
	})

	for _, c := range []struct{ name, pod, message string }{
		{"host path", `{"volumes":[{"name":"root","hostPath":{"path":"/"}}]}`, "only empty volumes"},
		{"persistent volume", `{"volumes":[{"name":"data","persistentVolumeClaim":{"claimName":"x"}}]}`, "only empty volumes"},
		{"Secret of another job", `{"volumes":[{"name":"secret","secret":{"secretName":"other"}}]}`, "only empty volumes"},
		{"registry access of another job", `{"imagePullSecrets":[{"name":"other"}]}`, "only empty volumes"},
		{"texts of another job", `{"volumes":[{"name":"texts","configMap":{"name":"other"}}]}`, "only empty volumes"},
		{"host network", `{"hostNetwork":true}`, "must not use the network"},
		{"host processes", `{"hostPID":true}`, "must not use the network"},
		{"host memory", `{"hostIPC":true}`, "must not use the network"},
		{"account", `{"serviceAccountName":"rest-api"}`, "no access to the API"},
		{"account by its older name", `{"serviceAccount":"rest-server"}`, "no access to the API"},
		{"token", `{"automountServiceAccountToken":true}`, "no access to the API"},
		{"machine", `{"nodeName":"pai-1"}`, "must not choose its machine"},
		{"runtime class", `{"runtimeClassName":"kata"}`, "must not choose its machine"},
		{"priority", `{"priorityClassName":"system-node-critical"}`, "must not choose its machine"},
		{"another container", `{"initContainers":[{"name":"a","image":"a"}]}`, "has one container"},
		{"toleration", `{"tolerations":[{"operator":"Exists"}]}`, "tolerates only"},
		{"kernel settings", `{"securityContext":{"sysctls":[{"name":"kernel.shm_rmid_forced","value":"0"}]}}`, "loosen the confinement of its pod"},
		{"no seccomp", `{"securityContext":{"seccompProfile":{"type":"Unconfined"}}}`, "loosen the confinement of its pod"},
		{"privileged", `{"containers":[{"securityContext":{"privileged":true}}]}`, "must not be privileged"},
		{"new privileges", `{"containers":[{"securityContext":{"allowPrivilegeEscalation":true}}]}`, "must not be privileged"},
		{"all of /proc", `{"containers":[{"securityContext":{"procMount":"Unmasked"}}]}`, "must not be privileged"},
		{"no seccomp of the container", `{"containers":[{"securityContext":{"seccompProfile":{"type":"Unconfined"}}}]}`, "must not be privileged"},
		{"port of the machine", `{"containers":[{"ports":[{"containerPort":80,"hostPort":80}]}]}`, "must not be privileged"},
		{"an image of PAI from a registry", `{"containers":[{"image":"pai.local/kueue:v0.19.2","imagePullPolicy":"Always"}]}`, "must not pull an image of PAI"},
		{"SYS_ADMIN", `{"containers":[{"securityContext":{"capabilities":{"add":["SYS_ADMIN"]}}}]}`, "was not granted"},
		{"capability of another virtual cluster", `{"containers":[{"securityContext":{"capabilities":{"add":["SYS_PTRACE"]}}}]}`, "was not granted"},
	} {
		t.Run(c.name, func(t *testing.T) {
			obj := submitted("hostile")
			change(t, obj, c.pod)
			err := server.Create(t.Context(), obj)
			if !apierrors.IsInvalid(err) && !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), c.message) {
				t.Errorf("got %v, want a refusal with %q", err, c.message)
			}
		})
	}

	t.Run("the network of another job", func(t *testing.T) {
		obj := submitted("neighbor")
		roles, _, _ := unstructured.NestedSlice(obj.Object, "spec", "replicatedJobs")
		if err := unstructured.SetNestedField(roles[0].(map[string]any), "another", "template", "spec", "template", "metadata", "annotations", pai.AnnotationNetwork); err != nil {
			t.Fatal(err)
		}
		if err := unstructured.SetNestedSlice(obj.Object, roles, "spec", "replicatedJobs"); err != nil {
			t.Fatal(err)
		}
		if err := server.Create(t.Context(), obj); err == nil || !strings.Contains(err.Error(), "the network of its job") {
			t.Errorf("got %v, want a refusal", err)
		}
	})
	t.Run("a host path by a server of v0.10", func(t *testing.T) {
		obj := submitted("previous")
		change(t, obj, `{"volumes":[{"name":"root","hostPath":{"path":"/"}}]}`)
		if err := previous.Create(t.Context(), obj); err == nil || !strings.Contains(err.Error(), "only empty volumes") {
			t.Errorf("got %v, want a refusal", err)
		}
	})
	t.Run("another namespace", func(t *testing.T) {
		obj := submitted("elsewhere")
		obj.SetNamespace("kube-system")
		if err := server.Create(t.Context(), obj); !apierrors.IsForbidden(err) {
			t.Errorf("got %v, want a refusal", err)
		}
	})
	t.Run("changed later", func(t *testing.T) {
		obj := submitted("later")
		if err := server.Create(t.Context(), obj); err != nil {
			t.Fatal(err)
		}
		change(t, obj, `{"hostNetwork":true}`)
		roles, _, _ := unstructured.NestedSlice(obj.Object, "spec", "replicatedJobs")
		patch, err := json.Marshal(map[string]any{"spec": map[string]any{"replicatedJobs": roles}})
		if err != nil {
			t.Fatal(err)
		}
		if err := server.Patch(t.Context(), kube.RefOf(obj), patch); err == nil || !strings.Contains(err.Error(), "must not use the network") {
			t.Errorf("got %v, want a refusal", err)
		}
	})
}

// The server can run the command that reads output in the pods of its DaemonSet, and no
// other one, and enters no other pod.
func TestServerRunsOnlyTheOutputCommand(t *testing.T) {
	w := newWorld(t, "default")
	server, err := kubernetes.NewForConfig(w.core.cluster.(*kube.Client).RESTConfig())
	if err != nil {
		t.Fatal(err)
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default", Namespace: pai.SystemNamespace}}
	if _, err := w.cluster.Client.Clientset().CoreV1().ServiceAccounts(pai.SystemNamespace).Create(t.Context(), account, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	for _, pod := range []string{"rest-server-output-x", "kueue-controller-manager-x"} {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: pod, Namespace: pai.SystemNamespace}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: outputName, Image: "x"}}}}
		p.Spec.AutomountServiceAccountToken = new(false)
		if _, err := w.cluster.Client.Clientset().CoreV1().Pods(pai.SystemNamespace).Create(t.Context(), p, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	enter := func(pod, subresource string, o corev1.PodExecOptions) string {
		o.Container, o.Stdout = outputName, true
		err := server.CoreV1().RESTClient().Post().Namespace(pai.SystemNamespace).Resource("pods").Name(pod).SubResource(subresource).
			VersionedParams(&o, scheme.ParameterCodec).Do(t.Context()).Error()
		return fmt.Sprint(err)
	}
	// Without a kubelet, what is allowed fails later.
	const refused, pods, commands = "ValidatingAdmissionPolicy", "enters only the pods that read output", "runs only the command that reads output"
	eventually(t, "the policy has an effect", func() string {
		if got := enter("kueue-controller-manager-x", "exec", corev1.PodExecOptions{Command: OutputCommand("{}")}); !strings.Contains(got, refused) {
			return got
		}
		return ""
	})
	for _, c := range []struct {
		name, pod, subresource string
		options                corev1.PodExecOptions
		want                   string // empty if it is allowed
	}{
		{"the command", "rest-server-output-x", "exec", corev1.PodExecOptions{Command: OutputCommand("{}")}, ""},
		{"another pod", "kueue-controller-manager-x", "exec", corev1.PodExecOptions{Command: OutputCommand("{}")}, pods},
		{"another command", "rest-server-output-x", "exec", corev1.PodExecOptions{Command: []string{"/rest-server", "-listen", ":1"}}, commands},
		{"a shell", "rest-server-output-x", "exec", corev1.PodExecOptions{Command: []string{"/bin/sh"}}, commands},
		{"more arguments", "rest-server-output-x", "exec", corev1.PodExecOptions{Command: append(OutputCommand("{}"), "x")}, commands},
		{"with input", "rest-server-output-x", "exec", corev1.PodExecOptions{Command: OutputCommand("{}"), Stdin: true}, commands},
		{"attached", "rest-server-output-x", "attach", corev1.PodExecOptions{}, "cannot create resource"},
	} {
		got := enter(c.pod, c.subresource, c.options)
		if c.want == "" && (strings.Contains(got, refused) || strings.Contains(got, "cannot")) || !strings.Contains(got, c.want) {
			t.Errorf("%s: got %s, want %q", c.name, got, c.want)
		}
	}
}

// previousServer acts as a server of v0.10, which runs until those of this release have
// replaced it.
func (w *world) previousServer(t *testing.T) *kube.Client {
	t.Helper()
	binding := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
		"metadata": map[string]any{"name": "previous", "namespace": job.Namespace("default")},
		"roleRef":  map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "pai-rest-api-jobs"},
		"subjects": []any{map[string]any{"kind": "ServiceAccount", "name": "rest-server", "namespace": pai.SystemNamespace}},
	}}
	apply(t, w, []*unstructured.Unstructured{binding})
	config := clientrest.CopyConfig(w.cluster.Config)
	config.Impersonate = clientrest.ImpersonationConfig{UserName: "system:serviceaccount:pai-system:rest-server", Groups: []string{"system:serviceaccounts", "system:authenticated"}}
	client, err := kube.FromConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client.WithRetryTimeout(5 * time.Second)
}

// awaitPolicy waits until the API server has read the policy.
func (w *world) awaitPolicy(t *testing.T, obj *unstructured.Unstructured) {
	t.Helper()
	change(t, obj, `{"hostNetwork":true}`)
	name := obj.GetName()
	attempt := 0
	eventually(t, "the policy has an effect", func() string {
		obj.SetName(fmt.Sprintf("%s-%d", name, attempt)) // one that was accepted stays
		attempt++
		err := w.core.cluster.Create(t.Context(), obj)
		if err != nil && strings.Contains(err.Error(), "ValidatingAdmissionPolicy") {
			return ""
		}
		return fmt.Sprint(err)
	})
}

// change merges fields into the pod of the first task role. A list of containers has
// the fields of the only one.
func change(t *testing.T, obj *unstructured.Unstructured, fields string) {
	t.Helper()
	var with map[string]any
	if err := json.Unmarshal([]byte(fields), &with); err != nil {
		t.Fatal(err)
	}
	roles, _, err := unstructured.NestedSlice(obj.Object, "spec", "replicatedJobs")
	if err != nil {
		t.Fatal(err)
	}
	role := roles[0].(map[string]any)
	pod, _, err := unstructured.NestedMap(role, "template", "spec", "template", "spec")
	if err != nil {
		t.Fatal(err)
	}
	if containers, ok := with["containers"].([]any); ok {
		mergeInto(pod["containers"].([]any)[0].(map[string]any), containers[0].(map[string]any))
		delete(with, "containers")
	}
	mergeInto(pod, with)
	if err := unstructured.SetNestedMap(role, pod, "template", "spec", "template", "spec"); err != nil {
		t.Fatal(err)
	}
	if err := unstructured.SetNestedSlice(obj.Object, roles, "spec", "replicatedJobs"); err != nil {
		t.Fatal(err)
	}
}

func mergeInto(into, with map[string]any) {
	for key, value := range with {
		a, isMap := into[key].(map[string]any)
		b, alsoMap := value.(map[string]any)
		if isMap && alsoMap {
			mergeInto(a, b)
		} else {
			into[key] = value
		}
	}
}
