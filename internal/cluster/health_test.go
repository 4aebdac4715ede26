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
			t.Errorf("%q was taken for %+v", broken, got)
		}
	}
}
