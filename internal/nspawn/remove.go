package nspawn

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Down kills the machines and removes everything that belongs to them. CacheDir
// and the keys of the operator stay.
func (l Local) Down(ctx context.Context) error {
	site, err := l.site()
	if err != nil {
		return err
	}
	if !anyExists(site.dir, site.removed()) && !site.hasRemains() {
		return nil
	}
	unlock, err := l.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	marked, err := site.remains()
	if err != nil {
		return err
	}
	for _, m := range marked {
		l.progress("removing machine %s", m.name)
		if err := m.clear(ctx); err != nil {
			return fmt.Errorf("stop machine %q: %w", m.name, err)
		}
	}
	if err := site.removeNetwork(ctx); err != nil {
		return err
	}
	return site.discard(ctx)
}

// removed is the name of the site directory while it is being removed.
func (s site) removed() string { return s.dir + ".removed" }

// discard renames the site directory before it removes it, so that an
// interrupted removal leaves no incomplete machines.
func (s site) discard(ctx context.Context) error {
	if err := removeTree(ctx, s.removed()); err != nil {
		return err
	}
	if err := os.Rename(s.dir, s.removed()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the directory of the machines: %w", err)
	}
	return removeTree(ctx, s.removed())
}

// removeOrphans removes what is left of machines without a disk.
func (s site) removeOrphans(ctx context.Context) error {
	marked, err := s.remains()
	if err != nil {
		return err
	}
	for _, m := range marked {
		if m.exists() {
			continue
		}
		if err := m.clear(ctx); err != nil {
			return fmt.Errorf("remove the remains of machine %q: %w", m.name, err)
		}
	}
	return nil
}

// remains are the machines that have anything left on this host, such as a
// control group or a network namespace.
func (s site) remains() ([]container, error) {
	all, err := s.all()
	if err != nil {
		return nil, err
	}
	patterns := []string{"/run/netns/" + s.mark + "-*", "/run/systemd/nspawn/*/" + s.mark + "-*"}
	for _, h := range hierarchies() {
		patterns = append(patterns, filepath.Join(h, s.mark+"-*"))
	}
	for _, p := range patterns {
		found, err := filepath.Glob(p)
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			i, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(f), s.mark+"-"))
			if err == nil && i > 0 && !slices.ContainsFunc(all, func(m container) bool { return m.index == i }) {
				all = append(all, s.container(i))
			}
		}
	}
	return all, nil
}

// hasRemains reports whether anything of the site is left on this host outside
// the state directory.
func (s site) hasRemains() bool {
	all, err := s.remains()
	return err != nil || len(all) > 0 || anyExists("/run/netns/"+s.mark, "/sys/class/net/"+s.mark)
}
