package job

import (
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The part of JobSet's API that PAI writes and reads (sigs.k8s.io/jobset,
// api/jobset/v1alpha2, the same in v0.10 and v0.12).

type jobSet struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              jobSetSpec   `json:"spec"`
	Status            jobSetStatus `json:"status"`
}

type jobSetSpec struct {
	ReplicatedJobs []replicatedJob `json:"replicatedJobs"`
	Network        network         `json:"network"`
	SuccessPolicy  successPolicy   `json:"successPolicy"`
	FailurePolicy  failurePolicy   `json:"failurePolicy"`
	StartupPolicy  startupPolicy   `json:"startupPolicy"`
	Suspend        bool            `json:"suspend"`
}

type replicatedJob struct {
	Name      string                  `json:"name"`
	GroupName string                  `json:"groupName"`
	Replicas  int32                   `json:"replicas"`
	Template  batchv1.JobTemplateSpec `json:"template"`
}

type network struct {
	EnableDNSHostnames       bool `json:"enableDNSHostnames"`
	PublishNotReadyAddresses bool `json:"publishNotReadyAddresses"`
}

type successPolicy struct {
	Operator             string   `json:"operator"`
	TargetReplicatedJobs []string `json:"targetReplicatedJobs,omitempty"`
}

type failurePolicy struct {
	MaxRestarts     int    `json:"maxRestarts"`
	RestartStrategy string `json:"restartStrategy"`
}

type startupPolicy struct {
	StartupPolicyOrder string `json:"startupPolicyOrder"`
}

type jobSetStatus struct {
	Conditions           []metav1.Condition    `json:"conditions,omitempty"`
	Restarts             int                   `json:"restarts"`
	ReplicatedJobsStatus []replicatedJobStatus `json:"replicatedJobsStatus,omitempty"`
}

type replicatedJobStatus struct {
	Name      string `json:"name"`
	Succeeded int    `json:"succeeded"`
	Failed    int    `json:"failed"`
}

// Conditions of a JobSet.
const (
	conditionCompleted = "Completed"
	conditionFailed    = "Failed"
	conditionSuspended = "Suspended"
)
