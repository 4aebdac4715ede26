package release

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"pai.dev/pai/internal/atomicfile"
	"pai.dev/pai/internal/pai"
)

// Export writes the bundle as one archive file. The file appears whole or not at
// all, and replaces a file of this name. CacheDir is where the locks of bundles
// are.
func (b *Bundle) Export(ctx context.Context, cacheDir, file string, progress func(format string, args ...any)) (int64, error) {
	if info, err := os.Stat(file); err == nil && !info.Mode().IsRegular() {
		return 0, pai.Errorf(pai.CodeUsage, "name a file for the archive, such as "+string(b.manifest.Metadata.Name)+".tar", "%s exists and is not a regular file", file)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("export bundle: %w", err)
	}
	if _, err := os.Stat(filepath.Dir(file)); errors.Is(err, fs.ErrNotExist) {
		return 0, pai.Errorf(pai.CodeUsage, "create the directory, or name a file in another one", "directory %s not found", filepath.Dir(file))
	}
	name := string(b.manifest.Metadata.Name)
	unlock, err := lockBundle(ctx, BundleDir(cacheDir, name), progress)
	if err != nil {
		return 0, err
	}
	defer unlock()
	// The lock also keeps other exports of the release away.
	if err := atomicfile.RemoveIncomplete(file); err != nil {
		return 0, fmt.Errorf("remove what an earlier export left: %w", err)
	}
	if err := requireSpace(filepath.Dir(file), b.spaceNeeded()); err != nil {
		return 0, err
	}
	m := newMeter(fmt.Sprintf("release %s: exported", name), b.Size(), progress)
	err = atomicfile.WriteFrom(file, 0o644, func(w io.Writer) error { return b.WriteArchive(ctx, m.through(w)) })
	if err != nil {
		return 0, explainFull(fmt.Errorf("export release %s: %w", name, err), filepath.Dir(file), b.spaceNeeded())
	}
	return m.written, nil
}
