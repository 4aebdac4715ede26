package inspect

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"pai.dev/pai/internal/layout"
)

// programs reports the programs of each version.
func (i *inspection) programs(ctx context.Context) error {
	names, err := i.names(layout.ProgramsDir)
	if err != nil {
		return err
	}
	i.report.Programs = map[string]map[string]string{}
	for _, name := range names {
		dir := layout.VersionDir(name)
		if strings.HasSuffix(name, layout.IncompleteSuffix) {
			continue
		}
		if complete, err := i.exists(dir + "/" + layout.ReleaseFile); err != nil || !complete {
			i.problem(err, string(Programs), dir)
			continue
		}
		files, err := i.programsOf(ctx, dir)
		i.problem(err, string(Programs), dir)
		i.report.Programs[name] = files
		i.digests.save() // so that an interrupted report continues here
	}
	return nil
}

// programsOf digests the programs of a version: all but the files that PAI renders.
func (i *inspection) programsOf(ctx context.Context, dir string) (map[string]string, error) {
	files := map[string]string{}
	root := i.at(dir)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		name := strings.TrimPrefix(strings.TrimPrefix(path, root), "/")
		switch {
		case err != nil:
			i.problem(i.plain(err), string(Programs), dir+"/"+name)
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case d.IsDir() && (name == "run" || name == "etc"):
			return fs.SkipDir
		case d.IsDir() || name == layout.ReleaseFile:
			return nil
		}
		sum, err := i.digests.of(path)
		if err != nil {
			i.problem(i.plain(err), string(Programs), dir+"/"+name)
			return nil
		}
		files[name] = sum
		return nil
	})
	return files, err
}

// linkOf is the base name of a link's target.
func (m Machine) linkOf(name string) (string, error) {
	target, err := os.Readlink(m.at(name))
	if err != nil {
		return "", m.plain(err)
	}
	return filepath.Base(target), nil
}
