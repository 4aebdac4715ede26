package configsync

import (
	"context"
	"time"

	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/revision"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/internal/session"
)

// mirrorTimeout bounds how long the API can take to store its copy of the revisions.
const mirrorTimeout = 20 * time.Second

// Push stores the configuration directory as a new revision and returns its
// number. over is the revision that it can replace although the directory is
// not based on it; 0 names none.
func Push(ctx context.Context, s *session.Session, reason string, over int) (n int, err error) {
	if err := checkCluster(ctx, s); err != nil {
		return 0, err
	}
	err = s.Locked(ctx, pai.VerbPushConfig, run.LockOptions{Notify: s.Progressf}, func(ctx context.Context, _ *run.Lock) error {
		n, err = PushLocked(ctx, s, reason, over)
		return err
	})
	if err == nil {
		Mirror(ctx, s)
	}
	return n, err
}

// checkCluster refuses machines that carry another cluster.
func checkCluster(ctx context.Context, s *session.Session) error {
	records, err := s.Records()
	if err != nil {
		return err
	}
	id, _, err := cluster.Recorded(ctx, records)
	if err != nil {
		return err
	}
	if id != "" && id != s.ClusterID() {
		return pai.Errorf(pai.CodeRefused, "name the right configuration with -p DIR", "the configuration is for cluster %q, and its machines run cluster %q", s.ClusterID(), id)
	}
	return nil
}

// PushLocked is Push for a caller that holds the lock of the cluster. An
// unchanged directory stays the revision that it is.
func PushLocked(ctx context.Context, s *session.Session, reason string, over int) (int, error) {
	store, err := s.Revisions()
	if err != nil {
		return 0, err
	}
	return push(ctx, store, s.Config.Dir, s.ClusterID(), reason, over)
}

func push(ctx context.Context, store *revision.Store, dir, clusterID, reason string, over int) (int, error) {
	c, err := read(ctx, store, dir, clusterID)
	if err != nil {
		return 0, err
	}
	if over == 0 || over != c.newest() {
		if err := c.CheckPush(dir); err != nil {
			return 0, err
		}
	}
	n := c.newest()
	if !c.Unchanged() {
		r, err := store.Add(ctx, n, session.Operator(), reason, c.Files)
		if err != nil {
			return 0, err
		}
		n = r.Number
	}
	return n, revision.WriteBase(dir, revision.Base{ClusterID: clusterID, Revision: n})
}

// Mirror copies the revisions into the API if that is available: the next
// operation adds what the API lacks now.
func Mirror(ctx context.Context, s *session.Session) {
	store, err := s.Revisions()
	if err != nil {
		return
	}
	var client *kube.Client
	if client, err = s.Kube(ctx); err == nil {
		ctx, cancel := context.WithTimeout(ctx, mirrorTimeout)
		defer cancel()
		_, err = store.Mirror(ctx, client, s.Config.HistoryLimit())
	}
	if err != nil {
		s.Progressf("could not copy the revisions of the configuration into the API; the next operation copies them: %v", err)
	}
}
