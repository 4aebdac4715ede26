package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"

	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
)

// memory is a cluster without controllers, in memory: jobs wait in it.
type memory struct {
	clientset kubernetes.Interface
	dynamic   dynamic.Interface

	mu      sync.Mutex
	version int
	made    int
}

var (
	_ Cluster   = (*memory)(nil)
	_ UserStore = (*memory)(nil)
)

func newMemory(virtualClusters ...string) *memory {
	kinds := map[schema.GroupVersionResource]string{
		job.JobSets: "JobSetList", workloads: "WorkloadList", clusterQueues: "ClusterQueueList", newerClusterQueues: "ClusterQueueList",
	}
	var queues []runtime.Object
	for _, vc := range virtualClusters {
		queues = append(queues, &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "kueue.x-k8s.io/v1beta1", "kind": "ClusterQueue", "metadata": map[string]any{"name": vc},
			"spec": map[string]any{"resourceGroups": []any{map[string]any{"flavors": []any{map[string]any{"resources": []any{
				map[string]any{"name": "cpu", "nominalQuota": "4"}, map[string]any{"name": "memory", "nominalQuota": "1000Ti"}}}}}}},
		}})
	}
	m := &memory{dynamic: dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), kinds, queues...)}
	m.clientset = fake.NewClientset(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "one"}, Status: corev1.NodeStatus{Allocatable: corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("8"), corev1.ResourceMemory: resource.MustParse("16Gi")}}},
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: pai.SystemNamespace, Name: usersSecret, ResourceVersion: "1"}})
	m.version = 1
	return m
}

func (m *memory) Clientset() kubernetes.Interface               { return m.clientset }
func (m *memory) Dynamic() dynamic.Interface                    { return m.dynamic }
func (m *memory) EnsureNamespace(context.Context, string) error { return nil }

func (m *memory) Create(ctx context.Context, obj *unstructured.Unstructured) error {
	m.mu.Lock()
	m.made++
	obj = obj.DeepCopy()
	obj.SetUID(types.UID(fmt.Sprintf("uid-%d", m.made)))
	obj.SetCreationTimestamp(metav1.NewTime(time.Now()))
	m.mu.Unlock()
	switch obj.GetKind() {
	case "Secret":
		var secret corev1.Secret
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, &secret); err != nil {
			return err
		}
		_, err := m.clientset.CoreV1().Secrets(secret.Namespace).Create(ctx, &secret, metav1.CreateOptions{})
		return err
	case "ConfigMap":
		var cm corev1.ConfigMap
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, &cm); err != nil {
			return err
		}
		_, err := m.clientset.CoreV1().ConfigMaps(cm.Namespace).Create(ctx, &cm, metav1.CreateOptions{})
		return err
	}
	_, err := m.dynamic.Resource(job.JobSets).Namespace(obj.GetNamespace()).Create(ctx, obj, metav1.CreateOptions{})
	return err
}

func (m *memory) Patch(ctx context.Context, r kube.Ref, patch []byte) error {
	var err error
	switch r.Kind {
	case "ConfigMap":
		_, err = m.clientset.CoreV1().ConfigMaps(r.Namespace).Patch(ctx, r.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	case "JobSet":
		_, err = m.dynamic.Resource(job.JobSets).Namespace(r.Namespace).Patch(ctx, r.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	default:
		err = fmt.Errorf("patch of a %s", r.Kind)
	}
	return err
}

// PatchUnchanged keeps versions of the Secret of the users, which is the only object
// with several writers here.
func (m *memory) PatchUnchanged(ctx context.Context, r kube.Ref, patch []byte) error {
	if r.Kind != "Secret" {
		return m.Patch(ctx, r, patch)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	secrets := m.clientset.CoreV1().Secrets(r.Namespace)
	secret, err := secrets.Get(ctx, r.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	var p struct {
		Metadata struct{ ResourceVersion string }
		Data     map[string]*[]byte
	}
	if err := json.Unmarshal(patch, &p); err != nil {
		return err
	}
	if p.Metadata.ResourceVersion != secret.ResourceVersion {
		return apierrors.NewConflict(schema.GroupResource{Resource: "secrets"}, r.Name, nil)
	}
	if secret.Data == nil {
		secret.Data = map[string][]byte{}
	}
	for key, value := range p.Data {
		if value == nil {
			delete(secret.Data, key)
		} else {
			secret.Data[key] = *value
		}
	}
	m.version++
	secret.ResourceVersion = strconv.Itoa(m.version)
	_, err = secrets.Update(ctx, secret, metav1.UpdateOptions{})
	return err
}

func (m *memory) Delete(ctx context.Context, r kube.Ref, _ types.UID) error {
	if r.Kind == "ConfigMap" {
		return m.clientset.CoreV1().ConfigMaps(r.Namespace).Delete(ctx, r.Name, metav1.DeleteOptions{})
	}
	return m.dynamic.Resource(job.JobSets).Namespace(r.Namespace).Delete(ctx, r.Name, metav1.DeleteOptions{})
}

// secret is what is stored of the users.
func (m *memory) secret(t *testing.T) *corev1.Secret {
	t.Helper()
	s, err := m.clientset.CoreV1().Secrets(pai.SystemNamespace).Get(t.Context(), usersSecret, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
