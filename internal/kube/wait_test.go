package kube

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestReadiness(t *testing.T) {
	tests := []struct{ name, object, reason string }{
		{"rolled out", `{apiVersion: apps/v1, kind: Deployment, metadata: {name: d, namespace: ns, generation: 1}, spec: {replicas: 1},
			status: {observedGeneration: 1, replicas: 1, updatedReplicas: 1, readyReplicas: 1, availableReplicas: 1,
			conditions: [{type: Available, status: "True"}, {type: Progressing, status: "True", reason: NewReplicaSetAvailable}]}}`, ""},
		{"rolling out", `{apiVersion: apps/v1, kind: Deployment, metadata: {name: d, namespace: ns, generation: 1}, spec: {replicas: 2},
			status: {observedGeneration: 1, replicas: 2, updatedReplicas: 1, readyReplicas: 1, availableReplicas: 1}}`, "Updated: 1/2"},
		{"not seen by its controller", `{apiVersion: apps/v1, kind: Deployment, metadata: {name: d, namespace: ns, generation: 2}, spec: {replicas: 1},
			status: {observedGeneration: 1}}`, "generation is 2, but latest observed generation is 1"},
		{"established", `{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: c}, spec: {},
			status: {conditions: [{type: Established, status: "True"}]}}`, ""},
		{"not established", `{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: c}, spec: {}}`, "Install in progress"},
		{"conversion without authority", `{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: c},
			spec: {conversion: {strategy: Webhook, webhook: {clientConfig: {service: {name: s}}}}},
			status: {conditions: [{type: Established, status: "True"}]}}`, "no CA yet"},
		{"webhook without authority", `{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingWebhookConfiguration, metadata: {name: w},
			webhooks: [{name: a, clientConfig: {caBundle: QUJD, service: {name: s}}}, {name: b, clientConfig: {service: {name: s}}}]}`, "webhook b has no CA yet"},
		{"webhook with authority", `{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingWebhookConfiguration, metadata: {name: w},
			webhooks: [{name: a, clientConfig: {caBundle: QUJD, service: {name: s}}}]}`, ""},
		{"webhook outside the cluster", `{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingWebhookConfiguration, metadata: {name: w},
			webhooks: [{name: a, clientConfig: {url: "https://x"}}]}`, ""},
		{"inactive queue", `{apiVersion: kueue.x-k8s.io/v1beta1, kind: ClusterQueue, metadata: {name: q},
			status: {conditions: [{type: Active, status: "False", reason: FlavorNotFound, message: "no flavor"}]}}`, "not active: FlavorNotFound: no flavor"},
		{"active queue", `{apiVersion: kueue.x-k8s.io/v1beta1, kind: ClusterQueue, metadata: {name: q},
			status: {conditions: [{type: Active, status: "True"}]}}`, ""},
		{"quota that is not counted", `{apiVersion: v1, kind: ResourceQuota, metadata: {name: a, namespace: b}, spec: {hard: {count/pods: "3", count/configmaps: "2"}},
			status: {hard: {count/pods: "3"}, used: {count/pods: "0"}}}`, "count/configmaps are not counted yet"},
		{"counted quota", `{apiVersion: v1, kind: ResourceQuota, metadata: {name: a, namespace: b}, spec: {hard: {count/pods: "3"}}, status: {used: {count/pods: "0"}}}`, ""},
		{"being deleted", `{apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: ns, deletionTimestamp: "2026-01-01T00:00:00Z"}}`, "deletion"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			objs, err := Decode([]byte(test.object))
			if err != nil {
				t.Fatal(err)
			}
			u, err := readiness(objs[0])
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case test.reason == "" && u != nil:
				t.Errorf("not ready: %s", u)
			case test.reason != "" && u == nil:
				t.Errorf("ready, want %q", test.reason)
			case test.reason != "" && !strings.Contains(u.Reason, test.reason):
				t.Errorf("not ready because %q, want %q", u.Reason, test.reason)
			}
		})
	}
}

// What a wait does not read is ready as soon as it exists, and what can be unready is read.
func TestWaitReadsWhatCanBeUnready(t *testing.T) {
	for object, skipped := range map[string]bool{
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: b}}`:                                         true,
		`{apiVersion: v1, kind: Secret, metadata: {name: a, namespace: b}}`:                                            true,
		`{apiVersion: v1, kind: ServiceAccount, metadata: {name: a, namespace: b}}`:                                    true,
		`{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: a}}`:                           true,
		`{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: a, namespace: b}}`:             true,
		`{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: a, namespace: b}}`:                   true,
		`{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: a}}`:                                 true,
		`{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicyBinding, metadata: {name: a}}`:   true,
		`{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: a}}`:     false,
		`{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicy, metadata: {name: a}}`:          false,
		`{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: a, namespace: b}}`:                             false,
		`{apiVersion: v1, kind: ResourceQuota, metadata: {name: a, namespace: b}, spec: {hard: {count/pods: "3"}}}`:    false,
		`{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: a, namespace: b, generation: 1}}`:                     false,
		`{apiVersion: kueue.x-k8s.io/v1beta1, kind: ClusterQueue, metadata: {name: a}}`:                                false,
		`{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: a}, spec: {}}`:         false,
		`{apiVersion: config.example.com/v1, kind: ConfigMap, metadata: {name: of-another-group, namespace: default}}`: false,
	} {
		objs, err := Decode([]byte(object))
		if err != nil {
			t.Fatal(err)
		}
		if got := isReadyOnceItExists(objs[0]); got != skipped {
			t.Errorf("%s: got %t, want %t", object, got, skipped)
		}
		if u, err := readiness(objs[0]); skipped && (u != nil || err != nil) {
			t.Errorf("%s is skipped, and is not ready: %v, %v", object, u, err)
		}
	}
}

func TestPodTrouble(t *testing.T) {
	waiting := corev1.ContainerStatus{Name: "manager", State: corev1.ContainerState{
		Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImageNeverPull", Message: "image is not present"}}}
	crashed := corev1.ContainerStatus{Name: "manager",
		State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}},
		LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 2, Reason: "Error",
			Message: "flag provided but not defined: -x\nUsage:\n  -y  why\n"}}}
	tests := []struct {
		name string
		pod  corev1.Pod
		want string
	}{
		{"waiting", corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{waiting}}},
			"container manager waiting: ErrImageNeverPull: image is not present"},
		{"crashing", corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{crashed}}},
			"container manager waiting: CrashLoopBackOff (before, it ended with code 2: Error: flag provided but not defined: -x … -y  why)"},
		{"running", corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{
			{Name: "m", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}}}, "container m runs but is not ready"},
		{"ready", corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{
			{Name: "m", Ready: true, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}}}, ""},
		{"unschedulable", corev1.Pod{Status: corev1.PodStatus{Conditions: []corev1.PodCondition{
			{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "Insufficient cpu"}}}}, "not scheduled: Insufficient cpu"},
		{"not started", corev1.Pod{Spec: corev1.PodSpec{NodeName: "m-1"}, Status: corev1.PodStatus{Phase: corev1.PodPending}}, "not started yet on m-1"},
		{"deleted", corev1.Pod{ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &metav1.Time{}}}, "it is being deleted"},
	}
	for _, test := range tests {
		if got := podTrouble(&test.pod); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}
