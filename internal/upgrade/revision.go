package upgrade

import (
	"context"
	"fmt"
	"time"

	"pai.dev/pai/internal/cluster"
	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/revision"
	"pai.dev/pai/internal/run"
)

// mirrorTimeout bounds how long the API may take over its copy of the revisions.
const mirrorTimeout = 20 * time.Second

// Folder is how a configuration's folder stands to the cluster's revisions.
type Folder struct {
	// Newest is the cluster's newest revision; nil where there is none.
	Newest *revision.Revision
	// Files are the folder's.
	Files map[string][]byte
	// Base is the revision that the folder's changes are changes of; 0 where
	// it was never pushed to this cluster or pulled from it.
	Base int
}

// Unchanged reports whether the folder is the newest revision.
func (f Folder) Unchanged() bool { return f.Newest != nil && f.Newest.Same(f.Files) }

// newest is the newest revision's number, 0 where there is none.
func (f Folder) newest() int {
	if f.Newest == nil {
		return 0
	}
	return f.Newest.Number
}

// Number is the revision that the folder is, or becomes when it is pushed.
func (f Folder) Number() int {
	if f.Unchanged() {
		return f.newest()
	}
	return f.newest() + 1
}

// Behind reports whether pushing the folder would undo what somebody else pushed.
func (f Folder) Behind() bool {
	return f.Newest != nil && !f.Unchanged() && f.Base != f.newest()
}

// Pushable refuses a folder that would undo what somebody else pushed.
func (f Folder) Pushable(dir string) error {
	switch {
	case !f.Behind():
		return nil
	case f.Base == 0:
		return pai.Errorf(pai.CodeRefused, fmt.Sprintf("see what it would change with: paictl config diff -p %s\nand take the newest with: paictl config pull -p %s (it keeps your files beside the folder)\nor put this folder over it with: paictl config push -p %s --over %d", dir, dir, dir, f.newest()),
			"%s was not pulled from the cluster, which has %s", dir, f.Newest.Info)
	default:
		return pai.Errorf(pai.CodeRefused, fmt.Sprintf("see their change with: paictl config diff %d %d\nand take it with: paictl config pull -p %s (it keeps your files beside the folder)", f.Base, f.newest(), dir),
			"%s is of revision %d, and since then there is %s", dir, f.Base, f.Newest.Info)
	}
}

// Revisions is the cluster's store of configurations.
func (s *Session) Revisions() (*revision.Store, error) {
	if s.revisions != nil {
		return s.revisions, nil
	}
	master, err := s.Master()
	if err != nil {
		return nil, err
	}
	s.revisions = revision.NewStore(master)
	return s.revisions, nil
}

// Folder looks at the session's configuration folder and the newest revision.
func (s *Session) Folder(ctx context.Context) (Folder, error) {
	store, err := s.Revisions()
	if err != nil {
		return Folder{}, err
	}
	return folderOf(ctx, store, s.Config.Dir, s.ClusterID())
}

func folderOf(ctx context.Context, store *revision.Store, dir, clusterID string) (f Folder, err error) {
	if f.Files, err = config.Files(dir); err != nil {
		return f, err
	}
	if f.Newest, err = store.Newest(ctx); err != nil {
		return f, err
	}
	base, err := revision.ReadBase(dir)
	if err != nil {
		return f, err
	}
	// A base beyond the newest is of a cluster that was wiped since.
	if base.ClusterID == clusterID && base.Revision <= f.newest() {
		f.Base = base.Revision
	}
	return f, nil
}

// ClusterID is the id that the configuration names.
func (s *Session) ClusterID() string { return s.Config.Services.Cluster.Common.ClusterID }

// Push stores the folder as a new revision. over is the revision that it may
// replace although the folder is not of it; 0 names none.
func (s *Session) Push(ctx context.Context, why string, over int) (n int, err error) {
	if err := s.rightCluster(ctx); err != nil {
		return 0, err
	}
	err = s.locked(ctx, pai.VerbPushConfig, s.progress, func(ctx context.Context, _ *run.Lock) error {
		n, err = s.pushFolder(ctx, why, over)
		return err
	})
	if err == nil {
		s.mirror(ctx)
	}
	return n, err
}

// rightCluster refuses to push where the machines carry another cluster.
func (s *Session) rightCluster(ctx context.Context) error {
	master, err := s.Master()
	if err != nil {
		return err
	}
	id, _, err := cluster.Recorded(ctx, master)
	if err != nil {
		return err
	}
	if id != "" && id != s.ClusterID() {
		return pai.Errorf(pai.CodeRefused, "see which configuration -p names", "the configuration is of cluster %q, and its machines carry cluster %q", s.ClusterID(), id)
	}
	return nil
}

// pushFolder stores the folder as a revision where it is none yet, and returns
// its number. The caller holds the cluster's lock.
func (s *Session) pushFolder(ctx context.Context, why string, over int) (int, error) {
	store, err := s.Revisions()
	if err != nil {
		return 0, err
	}
	return pushFolder(ctx, store, s.Config.Dir, s.ClusterID(), why, over)
}

func pushFolder(ctx context.Context, store *revision.Store, dir, clusterID, why string, over int) (int, error) {
	f, err := folderOf(ctx, store, dir, clusterID)
	if err != nil {
		return 0, err
	}
	if over == 0 || over != f.newest() {
		if err := f.Pushable(dir); err != nil {
			return 0, err
		}
	}
	n := f.newest()
	if !f.Unchanged() {
		r, err := store.Add(ctx, n, operator(), why, f.Files)
		if err != nil {
			return 0, err
		}
		n = r.Number
	}
	return n, revision.WriteBase(dir, revision.Base{ClusterID: clusterID, Revision: n})
}

// mirror brings the revisions into the API, where that answers: what it lacks
// now, the next operation adds.
func (s *Session) mirror(ctx context.Context) {
	store, err := s.Revisions()
	if err != nil {
		return
	}
	var client *kube.Client
	if client, err = s.Kube(ctx); err == nil {
		ctx, cancel := context.WithTimeout(ctx, mirrorTimeout)
		defer cancel()
		_, err = store.Mirror(ctx, client)
	}
	if err != nil {
		s.progress("The configuration's revisions are on the control-plane machine; the API gets its copy at the next operation: %v", err)
	}
}
