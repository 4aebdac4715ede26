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

// lease returns a lease as it is when it is read: renewed some time before.
// A subtest can wait for its turn for longer than a leader can be silent.
func lease(name, holder string, ago time.Duration) func() coordinationv1.Lease {
	return func() coordinationv1.Lease {
		renewed := metav1.NewMicroTime(time.Now().Add(-ago))
		l := coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: name}}
		l.Spec.HolderIdentity, l.Spec.RenewTime = &holder, &renewed
		return l
	}
}

// neverHeld returns a lease without holder and without a time.
func neverHeld(name string) func() coordinationv1.Lease {
	return func() coordinationv1.Lease {
		return coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: name}}
	}
}

func TestAdmissionNeedsLeaders(t *testing.T) {
	t.Parallel()
	const kueue, jobset = "c1f6bfd2.kueue.x-k8s.io", "6d4f6a47.jobset.x-k8s.io"
	held := lease(kueue, "a", 2*time.Second)
	for name, c := range map[string]struct {
		leases []func() coordinationv1.Lease
		code   int
		ok     bool
	}{
		"two leaders":         {[]func() coordinationv1.Lease{held, lease(jobset, "b", 0)}, 200, true},
		"no leases":           {nil, 200, true},
		"another controller":  {[]func() coordinationv1.Lease{lease("x", "", time.Hour)}, 200, true},
		"released":            {[]func() coordinationv1.Lease{held, lease(jobset, "", 0)}, 200, false},
		"silent":              {[]func() coordinationv1.Lease{lease(kueue, "a", 12*time.Second)}, 200, false},
		"never held":          {[]func() coordinationv1.Lease{neverHeld(kueue)}, 200, false},
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
				var list coordinationv1.LeaseList
				for _, l := range c.leases {
					list.Items = append(list.Items, l())
				}
				_ = json.NewEncoder(w).Encode(list)
			}))
			defer server.Close()
			err := admission{&probeClient{base: server.URL, http: server.Client()}}.test(context.Background())
			if (err == nil) != c.ok {
				t.Errorf("got %v, want success: %v", err, c.ok)
			}
		})
	}
}
