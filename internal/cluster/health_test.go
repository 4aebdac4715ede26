package cluster

import (
	"slices"
	"testing"
)

// TestParseEtcd reads what etcdctl 3.6 prints.
func TestParseEtcd(t *testing.T) {
	t.Parallel()
	const status = `[{"Endpoint":"https://127.0.0.1:2379","Status":{"header":{"cluster_id":1,"member_id":10276657743932975437,"revision":7,"raft_term":2},"version":"3.6.8","dbSize":20480,"leader":10276657743932975437,"raftIndex":9,"raftTerm":2,"raftAppliedIndex":9,"dbSizeInUse":16384,"storageVersion":"3.6.0","dbSizeQuota":2147483648}}]
`
	const members = `{"header":{},"members":[{"ID":10276657743932975437,"name":"a","peerURLs":["https://10.0.0.1:2380"]},{"ID":7,"name":"b","isLearner":true}]}
`
	s, err := parseEtcd([]byte(status + `{"header":{}}` + "\n" + members))
	if err != nil {
		t.Fatal(err)
	}
	if s.Leader != 10276657743932975437 || s.Version != "3.6.8" || s.Size != 20480 || s.Used != 16384 || s.Quota != 2<<30 || s.Members != 2 || s.Learners != 1 || len(s.Alarms) != 0 {
		t.Errorf("got %+v", s)
	}
	s, err = parseEtcd([]byte(status + `{"alarms":[{"memberID":7,"alarm":1},{"memberID":7,"alarm":"CORRUPT"}]}` + "\n" + members))
	if err != nil || !slices.Equal(s.Alarms, []string{"NOSPACE", "CORRUPT"}) {
		t.Errorf("got %+v, %v", s, err)
	}
	for _, broken := range []string{"", status, "[]{}{}", "Error: context deadline exceeded"} {
		if got, err := parseEtcd([]byte(broken)); err == nil {
			t.Errorf("%q was parsed as %+v", broken, got)
		}
	}
}

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
