package cli

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/configsync"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/revision"
	"pai.dev/pai/internal/session"
)

// rehearsal is a copy of a configuration directory whose machines were changed. A plan and its
// checks work with the copy, so that a refusal leaves the directory as it was.
type rehearsal struct {
	dir, copy string
	change    func(dir string) error
	files     map[string][]byte // of the directory when it was copied
	base      *revision.Base    // of the directory, if it is a revision
}

// newRehearsal copies a directory and makes a change in the copy.
func newRehearsal(dir string, change func(dir string) error) (_ *rehearsal, err error) {
	r := &rehearsal{dir: dir, change: change}
	if r.files, err = config.Files(dir); err != nil {
		return nil, err
	}
	base, err := revision.ReadBase(dir)
	if err != nil {
		return nil, err
	}
	// The files can have passwords: the directory is for its owner only.
	if r.copy, err = os.MkdirTemp("", "paictl-add-"); err != nil {
		return nil, fmt.Errorf("copy the configuration: %w", err)
	}
	defer func() {
		if err != nil {
			r.remove()
		}
	}()
	for name, data := range r.files {
		if err := os.WriteFile(filepath.Join(r.copy, name), data, 0o600); err != nil {
			return nil, fmt.Errorf("copy the configuration: %w", err)
		}
	}
	if base != (revision.Base{}) {
		if err := revision.WriteBase(r.copy, base); err != nil {
			return nil, err
		}
	}
	return r, change(r.copy)
}

func (r *rehearsal) remove() { _ = os.RemoveAll(r.copy) } // a directory for temporary files

// checkPush refuses a directory that would undo the push of another operator, with advice that
// names it and not its copy. A directory that is a revision is based on that.
func (r *rehearsal) checkPush(ctx context.Context, s *session.Session) error {
	if s.Hosts[s.Seed().Hostname] == nil {
		return nil // the plan shows it
	}
	s.Config.Dir = r.dir
	c, err := configsync.Read(ctx, s)
	s.Config.Dir = r.copy
	if err != nil {
		return err
	}
	if err := c.CheckPush(r.dir); err != nil || !c.Unchanged() {
		return err
	}
	r.base = &revision.Base{ClusterID: s.ClusterID(), Revision: c.Number()}
	return revision.WriteBase(r.copy, *r.base)
}

// write makes the change in the directory, unless that was edited since it was copied.
func (r *rehearsal) write() error {
	now, err := config.Files(r.dir)
	if err != nil {
		return err
	}
	if !maps.EqualFunc(now, r.files, bytes.Equal) {
		return pai.Errorf(pai.CodeRefused, "run the same command again; nothing was changed", "%s was edited after the plan was shown", r.dir)
	}
	if r.base != nil {
		if err := revision.WriteBase(r.dir, *r.base); err != nil {
			return err
		}
	}
	return r.change(r.dir)
}
