package pai

import "testing"

func TestJobRefsStringJoinsNames(t *testing.T) {
	ann, bob := JobRef{User: "ann", Name: "llama"}, JobRef{User: "bob", Name: "bert", VirtualCluster: "vc1"}
	for want, jobs := range map[string]JobRefs{"nothing": nil, "ann~llama": {ann}, "ann~llama, bob~bert": {ann, bob}} {
		if got := jobs.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
