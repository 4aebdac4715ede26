package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// Admissions reads what Kueue stores of each job: its UID, the generation of its
// specification, and its admission, in the version that every release serves.
func (c *Cluster) Admissions(ctx context.Context) (map[string]string, error) {
	out, err := c.kubectl(ctx, "get workloads.v1beta1.kueue.x-k8s.io -A -o json")
	if err != nil {
		return nil, err
	}
	return admissionsOf([]byte(out))
}

func admissionsOf(list []byte) (map[string]string, error) {
	var workloads struct {
		Items []struct {
			Metadata struct {
				Namespace, Name, UID string
				Generation           int
			}
			Status struct{ Admission map[string]any }
		}
	}
	if err := json.Unmarshal(list, &workloads); err != nil {
		return nil, fmt.Errorf("read the workloads: %w", err)
	}
	found := map[string]string{}
	for _, w := range workloads.Items {
		admission, err := json.Marshal(w.Status.Admission)
		if err != nil {
			return nil, err
		}
		found[w.Metadata.Namespace+"/"+w.Metadata.Name] = fmt.Sprintf("%s generation %d admitted %s", w.Metadata.UID, w.Metadata.Generation, admission)
	}
	return found, nil
}

// ChangedAdmissions says which jobs of before Kueue stores otherwise in after.
func ChangedAdmissions(before, after map[string]string) []error {
	var changed []error
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if was, is := before[name], after[name]; is != was {
			changed = append(changed, fmt.Errorf("workload %s was %s, is %q", name, was, is))
		}
	}
	return changed
}
