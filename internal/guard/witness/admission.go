package witness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"

	"pai.dev/pai/internal/pai"
)

const leasesPath = "/apis/coordination.k8s.io/v1/namespaces/" + pai.SystemNamespace + "/leases"

// leaderSilence is how long a leader can be silent: after this time (the default
// RenewDeadline of controller-runtime), a leader that cannot renew its lease exits.
const leaderSilence = 10 * time.Second

// admission tests whether jobs are admitted and started: the controllers of Kueue and
// JobSet have a leader. In a cluster without their leases there is nothing to test.
type admission struct{ client *probeClient }

func (a admission) test(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.client.base+leasesPath, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "pai-witness")
	resp, err := a.client.http.Do(req)
	if err != nil {
		return err
	}
	data, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return fmt.Errorf("list the leases: %w", err)
	}
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return nil
	default:
		return fmt.Errorf("list the leases: %s", resp.Status)
	}
	now, err := http.ParseTime(resp.Header.Get("Date")) // the clock of the cluster
	if err != nil {
		return fmt.Errorf("list the leases: %w", err)
	}
	var list coordinationv1.LeaseList
	if err := json.Unmarshal(data, &list); err != nil {
		return fmt.Errorf("read the leases: %w", err)
	}
	return leaderless(list.Items, now)
}

// leaderless returns an error if a controller of jobs has no leader.
func leaderless(leases []coordinationv1.Lease, now time.Time) error {
	for _, l := range leases {
		if !strings.HasSuffix(l.Name, ".kueue.x-k8s.io") && !strings.HasSuffix(l.Name, ".jobset.x-k8s.io") {
			continue
		}
		if l.Spec.HolderIdentity == nil || *l.Spec.HolderIdentity == "" {
			return fmt.Errorf("%s has no leader", l.Name)
		}
		if l.Spec.RenewTime == nil || now.Sub(l.Spec.RenewTime.Time) > leaderSilence {
			return fmt.Errorf("the leader of %s is not responding", l.Name)
		}
	}
	return nil
}
