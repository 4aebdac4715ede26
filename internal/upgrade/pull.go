package upgrade

import (
	"context"
	"fmt"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/revision"
	"pai.dev/pai/internal/run"
)

// Pull puts a revision, the newest when number is 0, into a folder, and
// returns where the files are that it had. What was changed in the folder and
// never pushed is replaced only with discard.
func Pull(ctx context.Context, store *revision.Store, dir string, number int, discard bool) (r revision.Revision, former string, err error) {
	if number != 0 {
		r, err = store.Get(ctx, number)
	} else if newest, errNewest := store.Newest(ctx); errNewest != nil || newest != nil {
		if err = errNewest; err == nil {
			r = *newest
		}
	} else {
		err = pai.Errorf(pai.CodeNotFound, "push one with: paictl config push", "the cluster has no revision of its configuration yet")
	}
	if err != nil {
		return r, "", err
	}
	if err := pullable(ctx, store, dir, r, discard); err != nil {
		return r, "", err
	}
	c, report := config.FromFiles(fmt.Sprintf("revision-%d", r.Number), r.Files)
	if c == nil {
		return r, "", pai.Errorf(pai.CodeInvalid, "pull another revision: paictl config history", "revision %d cannot be read: %w", r.Number, report.Problems)
	}
	if former, err = config.ReplaceFiles(dir, r.Files); err != nil {
		return r, former, err
	}
	return r, former, revision.WriteBase(dir, revision.Base{ClusterID: c.Services.Cluster.Common.ClusterID, Revision: r.Number})
}

// pullable refuses to replace what is nowhere else.
func pullable(ctx context.Context, store *revision.Store, dir string, r revision.Revision, discard bool) error {
	files, err := config.Files(dir)
	if pai.CodeOf(err) == pai.CodeNotFound || discard {
		return nil
	}
	if err != nil {
		return err
	}
	base, err := revision.ReadBase(dir)
	if err != nil || r.Same(files) {
		return err
	}
	if base.Revision != 0 {
		was, err := store.Get(ctx, base.Revision)
		if err == nil && was.Same(files) {
			return nil
		}
		if err != nil && pai.CodeOf(err) != pai.CodeNotFound {
			return err
		}
	}
	return pai.Errorf(pai.CodeRefused, "see them with: paictl config diff -p "+dir+"\npush them, pull into another folder, or replace them with --discard-changes (they are kept beside the folder)",
		"%s has changes that were never pushed", dir)
}

// GoBackTo makes a new revision that is equal to an older one. A folder that
// was the newest revision becomes the new one.
func (s *Session) GoBackTo(ctx context.Context, number int, why string) (n int, former string, err error) {
	store, err := s.Revisions()
	if err != nil {
		return 0, "", err
	}
	if err := s.rightCluster(ctx); err != nil {
		return 0, "", err
	}
	err = s.locked(ctx, pai.VerbRollbackConfig, s.progress, func(ctx context.Context, _ *run.Lock) error {
		n, former, err = goBackTo(ctx, store, s.Config.Dir, s.ClusterID(), number, why)
		return err
	})
	if err == nil {
		s.mirror(ctx)
	}
	return n, former, err
}

func goBackTo(ctx context.Context, store *revision.Store, dir, clusterID string, number int, why string) (n int, former string, err error) {
	old, err := store.Get(ctx, number)
	if err != nil {
		return 0, "", err
	}
	f, err := folderOf(ctx, store, dir, clusterID)
	if err != nil {
		return 0, "", err
	}
	if f.Newest.Same(old.Files) {
		return f.newest(), "", nil
	}
	r, err := store.Add(ctx, f.newest(), operator(), why, old.Files)
	if err != nil || !f.Unchanged() {
		return r.Number, "", err
	}
	// Only a folder that has the files is of the revision: else its next push
	// would take the way back back.
	if former, err = config.ReplaceFiles(dir, old.Files); err != nil {
		return r.Number, former, err
	}
	return r.Number, former, revision.WriteBase(dir, revision.Base{ClusterID: clusterID, Revision: r.Number})
}
