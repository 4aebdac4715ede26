package configsync

import (
	"context"
	"fmt"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/revision"
	"pai.dev/pai/internal/session"
)

// WorkingCopy is a configuration directory beside the cluster's revisions.
type WorkingCopy struct {
	// Newest is the newest revision of the cluster; nil if there is none.
	Newest *revision.Revision
	// Files are the files of the directory.
	Files map[string][]byte
	// Base is the revision that the directory was changed from; 0 if it was
	// never pushed to this cluster or pulled from it.
	Base int
}

// Read reads the configuration directory of a session and the newest revision.
func Read(ctx context.Context, s *session.Session) (WorkingCopy, error) {
	store, err := s.Revisions()
	if err != nil {
		return WorkingCopy{}, err
	}
	return read(ctx, store, s.Config.Dir, s.ClusterID())
}

func read(ctx context.Context, store *revision.Store, dir, clusterID string) (c WorkingCopy, err error) {
	if c.Files, err = config.Files(dir); err != nil {
		return c, err
	}
	if c.Newest, err = store.Newest(ctx); err != nil {
		return c, err
	}
	base, err := revision.ReadBase(dir)
	if err != nil {
		return c, err
	}
	// A base that is newer than the newest revision is from a cluster that was wiped.
	if base.ClusterID == clusterID && base.Revision <= c.newest() {
		c.Base = base.Revision
	}
	return c, nil
}

// Unchanged reports whether the directory equals the newest revision.
func (c WorkingCopy) Unchanged() bool { return c.Newest != nil && c.Newest.Same(c.Files) }

func (c WorkingCopy) newest() int {
	if c.Newest == nil {
		return 0
	}
	return c.Newest.Number
}

// Number is the revision that the directory is, or becomes with a push.
func (c WorkingCopy) Number() int {
	if c.Unchanged() {
		return c.newest()
	}
	return c.newest() + 1
}

// IsOutdated reports whether a push of the directory would undo a revision
// that another operator pushed.
func (c WorkingCopy) IsOutdated() bool {
	return c.Newest != nil && !c.Unchanged() && c.Base != c.newest()
}

// CheckPush refuses an outdated directory. dir is its path, for the hint.
func (c WorkingCopy) CheckPush(dir string) error {
	switch {
	case !c.IsOutdated():
		return nil
	case c.Base == 0:
		return pai.Errorf(pai.CodeRefused, fmt.Sprintf("to see what the directory would change, run: paictl config diff -p %s\nto replace it with the newest revision, run: paictl config pull -p %s; your files are kept beside the directory\nto replace the newest revision, run: paictl config push -p %s --over %d -m WHY", dir, dir, dir, c.newest()),
			"%s was not pulled from the cluster, which has %s", dir, c.Newest.Info)
	default:
		return pai.Errorf(pai.CodeRefused, fmt.Sprintf("to see what changed, run: paictl config diff %d %d\nto replace the directory with the newest revision, run: paictl config pull -p %s; your files are kept beside the directory", c.Base, c.newest(), dir),
			"%s is based on revision %d, and the cluster has %s", dir, c.Base, c.Newest.Info)
	}
}
