package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes/scheme"

	"pai.dev/pai/internal/pai"
)

// JobData are the keys of etcd that belong to jobs, with their values.
type JobData map[string][]byte

// JobRecord is what etcd has of one job.
type JobRecord struct {
	Set  *unstructured.Unstructured // its JobSet; nil if there is none
	Pods []corev1.Pod
	keys []string
}

// The kinds of the objects of a job, as kindOfKey has them.
const (
	kindJobSets   = "jobsets.jobset.x-k8s.io"
	kindWorkloads = "workloads.kueue.x-k8s.io"
	kindJobs      = "jobs"
	kindPods      = "pods"
)

// usersKey is the key of the users of the REST server. Its value is encrypted.
const usersKey = "/registry/secrets/" + pai.SystemNamespace + "/" + pai.UsersSecret

// Records returns the jobs by "namespace/object".
func (d JobData) Records() (map[string]*JobRecord, error) {
	records := map[string]*JobRecord{}
	for _, key := range sortedKeys(d) {
		if err := d.read(key, records); err != nil {
			return nil, fmt.Errorf("read %s in etcd: %w", key, err)
		}
	}
	return records, nil
}

// read adds an object to the record of its job. Other objects in the namespaces of
// virtual clusters are left out.
func (d JobData) read(key string, records map[string]*JobRecord) error {
	of := func(o metav1.Object, object string) *JobRecord {
		id := o.GetNamespace() + "/" + object
		if records[id] == nil {
			records[id] = &JobRecord{}
		}
		records[id].keys = append(records[id].keys, key)
		return records[id]
	}
	if bytes.HasPrefix(d[key], []byte("k8s:enc:")) {
		return errors.New("it is encrypted")
	}
	switch kind := kindOfKey(key); kind {
	case kindJobSets, kindWorkloads:
		obj := &unstructured.Unstructured{}
		if err := obj.UnmarshalJSON(d[key]); err != nil {
			return err
		}
		if kind == kindJobSets && obj.GetLabels()[pai.LabelJob] != "" {
			of(obj, obj.GetName()).Set = obj
		}
		for _, owner := range obj.GetOwnerReferences() {
			if kind == kindWorkloads && owner.Kind == "JobSet" {
				of(obj, owner.Name)
			}
		}
	default:
		obj, _, err := scheme.Codecs.UniversalDeserializer().Decode(d[key], nil, nil)
		if err != nil {
			return err
		}
		o, ok := obj.(metav1.Object)
		if !ok || o.GetLabels()[pai.LabelJob] == "" {
			return nil
		}
		r := of(o, o.GetLabels()[pai.LabelJob])
		if pod, ok := obj.(*corev1.Pod); ok {
			r.Pods = append(r.Pods, *pod)
		}
	}
	return nil
}

// formOf is the kind and the stored version of an object.
func formOf(key string, value []byte) string {
	var meta metav1.TypeMeta
	_ = json.Unmarshal(value, &meta) // built-in objects are no JSON: their stored versions are the same
	return kindOfKey(key) + " " + meta.APIVersion
}

// namespaceKey is the key of a namespace.
func namespaceKey(id string) string {
	namespace, _, _ := strings.Cut(id, "/")
	return "/registry/namespaces/" + namespace
}
