package witness

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// lease is a lease that was renewed some time ago.
func lease(name, holder string, ago time.Duration) coordinationv1.Lease {
	renewed := metav1.NewMicroTime(time.Now().Add(-ago))
	l := coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: name}}
	l.Spec.HolderIdentity, l.Spec.RenewTime = &holder, &renewed
	return l
}

func TestAdmissionNeedsLeaders(t *testing.T) {
	t.Parallel()
	const kueue, jobset = "c1f6bfd2.kueue.x-k8s.io", "6d4f6a47.jobset.x-k8s.io"
	held := lease(kueue, "a", 2*time.Second)
	for name, c := range map[string]struct {
		leases []coordinationv1.Lease
		code   int
		ok     bool
	}{
		"two leaders":         {[]coordinationv1.Lease{held, lease(jobset, "b", 0)}, 200, true},
		"no leases":           {nil, 200, true},
		"another controller":  {[]coordinationv1.Lease{lease("x", "", time.Hour)}, 200, true},
		"released":            {[]coordinationv1.Lease{held, lease(jobset, "", 0)}, 200, false},
		"silent":              {[]coordinationv1.Lease{lease(kueue, "a", 12*time.Second)}, 200, false},
		"never held":          {[]coordinationv1.Lease{{ObjectMeta: metav1.ObjectMeta{Name: kueue}}}, 200, false},
		"no such namespace":   {nil, 404, true},
		"API not responding":  {nil, 503, false},
		"not allowed to list": {nil, 403, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != leasesPath {
					t.Errorf("got a request for %s", r.URL.Path)
				}
				w.WriteHeader(c.code)
				_ = json.NewEncoder(w).Encode(coordinationv1.LeaseList{Items: c.leases})
			}))
			defer server.Close()
			err := admission{&probeClient{base: server.URL, http: server.Client()}}.test(context.Background())
			if (err == nil) != c.ok {
				t.Errorf("got %v, want success: %v", err, c.ok)
			}
		})
	}
}
