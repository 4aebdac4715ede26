package job

import (
	"encoding/json"
	"fmt"

	jobset "sigs.k8s.io/jobset/api/jobset/v1alpha2"
)

// podOverhead is an estimate, on the safe side, of what Kubernetes adds to the template
// of a pod: its names, managed fields, status, and events.
const podOverhead = 6 << 10

// checkSize returns Problems if the cluster would store more than MaxStored for the
// job. Each change of a pod stores the whole pod again until the next compaction, so
// the store needs many times that for a moment.
func (o Objects) checkSize(js *jobset.JobSet) error {
	set, err := json.Marshal(o.JobSet.Object)
	if err != nil {
		return fmt.Errorf("encode JobSet %s: %w", js.Name, err)
	}
	texts, err := json.Marshal(o.Texts.Object)
	if err != nil {
		return fmt.Errorf("encode ConfigMap %s: %w", o.Texts.GetName(), err)
	}
	secret := []byte{}
	if o.Secret != nil {
		if secret, err = json.Marshal(o.Secret.Object); err != nil {
			return fmt.Errorf("encode Secret %s: %w", o.Secret.GetName(), err)
		}
	}
	// Kueue has a copy of the templates in its Workload, and each Job has its own.
	size, tasks := 3*len(set)+len(texts)+len(secret), 0
	for _, rj := range js.Spec.ReplicatedJobs {
		pod, err := json.Marshal(rj.Template.Spec.Template)
		if err != nil {
			return fmt.Errorf("encode a pod of JobSet %s: %w", js.Name, err)
		}
		instances := int(*rj.Template.Spec.Completions)
		tasks += instances
		size += instances * (len(pod) + podOverhead)
	}
	if size > MaxStored {
		return Problems{{Path: "taskRoles", Message: fmt.Sprintf(
			"the objects of %d tasks come to %s in the store of the cluster; the limit for a job is %s: use fewer instances or shorter names of task roles",
			tasks, megabytes(size), megabytes(MaxStored))}}
	}
	return nil
}

func megabytes(n int) string { return fmt.Sprintf("%.1f MB", float64(n)/(1<<20)) }
