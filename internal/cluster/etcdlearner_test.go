package cluster

import "testing"

// TestHasApplied reads what etcd 3.6 says of a learner before and after it has
// got its data.
func TestHasApplied(t *testing.T) {
	t.Parallel()
	for metrics, want := range map[string]bool{
		"": false,
		"# TYPE etcd_server_proposals_applied_total gauge\netcd_server_proposals_applied_total 0\n":                  false,
		"etcd_server_has_leader 1\netcd_server_proposals_applied_total 4021\netcd_server_proposals_failed_total 0\n": true,
		"etcd_server_proposals_applied_total 1.234567e+06\n":                                                         true,
	} {
		if got := hasApplied([]byte(metrics)); got != want {
			t.Errorf("%q: %v, want %v", metrics, got, want)
		}
	}
}
