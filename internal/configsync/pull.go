package configsync

import (
	"context"
	"fmt"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/revision"
	"pai.dev/pai/internal/run"
	"pai.dev/pai/internal/session"
)

// Pull puts a revision, the newest if number is 0, into a directory, and
// returns where the previous files are. It replaces changes that were never
// pushed only with discard.
func Pull(ctx context.Context, store *revision.Store, dir string, number int, discard bool) (r revision.Revision, previous string, err error) {
	if r, err = choose(ctx, store, number); err != nil {
		return r, "", err
	}
	if err := checkPull(ctx, store, dir, r, discard); err != nil {
		return r, "", err
	}
	c, report := config.FromFiles(fmt.Sprintf("revision-%d", r.Number), r.Files)
	if c == nil {
		return r, "", pai.Errorf(pai.CodeInvalid, "choose another revision; run: paictl config history", "revision %d is invalid: %w", r.Number, report.Problems)
	}
	previous, err = replace(dir, c.Services.Cluster.Common.ClusterID, r)
	return r, previous, err
}

// choose reads a revision by number, or the newest if number is 0.
func choose(ctx context.Context, store *revision.Store, number int) (revision.Revision, error) {
	if number != 0 {
		return store.Get(ctx, number)
	}
	newest, err := store.Newest(ctx)
	if err != nil {
		return revision.Revision{}, err
	}
	if newest == nil {
		return revision.Revision{}, pai.Errorf(pai.CodeNotFound, "push the configuration; run: paictl config push -m WHY", "the cluster has no revision of its configuration")
	}
	return *newest, nil
}

// replace puts a revision into a directory and records that it is its base.
func replace(dir, clusterID string, r revision.Revision) (previous string, err error) {
	if previous, err = config.ReplaceFiles(dir, r.Files); err != nil {
		return previous, err
	}
	return previous, revision.WriteBase(dir, revision.Base{ClusterID: clusterID, Revision: r.Number})
}

// checkPull refuses to replace files that are stored nowhere else.
func checkPull(ctx context.Context, store *revision.Store, dir string, r revision.Revision, discard bool) error {
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
	return pai.Errorf(pai.CodeRefused, "push the changes, pull into another directory, or replace them with --discard-changes, which keeps them beside the directory\nto see the changes, run: paictl config diff -p "+dir,
		"%s has changes that were never pushed", dir)
}

// RollbackTo makes a new revision that equals an older one. A directory that
// equals the newest revision becomes the new one.
func RollbackTo(ctx context.Context, s *session.Session, number int, reason string) (n int, previous string, err error) {
	store, err := s.Revisions()
	if err != nil {
		return 0, "", err
	}
	if err := checkCluster(ctx, s); err != nil {
		return 0, "", err
	}
	err = s.Locked(ctx, pai.VerbRollbackConfig, run.LockOptions{Notify: s.Progressf}, func(ctx context.Context, _ *run.Lock) error {
		n, previous, err = rollbackTo(ctx, store, s.Config.Dir, s.ClusterID(), number, reason)
		return err
	})
	if err == nil {
		Mirror(ctx, s)
	}
	return n, previous, err
}

func rollbackTo(ctx context.Context, store *revision.Store, dir, clusterID string, number int, reason string) (n int, previous string, err error) {
	old, err := store.Get(ctx, number)
	if err != nil {
		return 0, "", err
	}
	c, err := read(ctx, store, dir, clusterID)
	if err != nil {
		return 0, "", err
	}
	if c.Newest.Same(old.Files) {
		return c.newest(), "", nil
	}
	r, err := store.Add(ctx, c.newest(), session.Operator(), reason, old.Files)
	if err != nil || !c.Unchanged() {
		return r.Number, "", err
	}
	// The new revision is the base only of a directory that has its files:
	// otherwise the next push of the directory would undo the rollback.
	previous, err = replace(dir, clusterID, r)
	return r.Number, previous, err
}
