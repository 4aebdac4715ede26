package cluster

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
)

// completeFile is in layout.RecoveryDir once it has all files of a verified backup.
const completeFile = "complete"

// copyBackup writes the files of a backup into layout.RecoveryDir.
func (c *cluster) copyBackup(ctx context.Context, h machine.Host) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	from, to := io.Pipe()
	go func() {
		files := tar.NewWriter(to)
		add := func(name string, size int64, content io.Reader) error {
			if err := files.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, Format: tar.FormatPAX}); err != nil {
				return err
			}
			_, err := io.Copy(files, content)
			return err
		}
		err := c.Recovery.Read(ctx, add)
		if err == nil { // only now is it known that all of it is what was signed
			err = errors.Join(add(completeFile, 0, strings.NewReader("")), files.Close())
		}
		if err != nil {
			cancel(err)
		}
		to.CloseWithError(err)
	}()
	_, err := h.Run(ctx, machine.Command{Stdin: from, Bulk: true, Script: fmt.Sprintf(`umask 077
rm -rf %[1]s
install -d -m 0700 %[1]s
tar -C %[1]s -xmf - --no-same-owner --no-same-permissions
[ -e %[1]s/%[2]s ] || { echo "the backup was not copied completely" >&2; exit 1; }`, layout.RecoveryDir, completeFile)})
	from.CloseWithError(errors.New("the rest is not needed"))
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	if err != nil {
		return fmt.Errorf("copy backup %s to %q: %w", c.Recovery.Backup, h.Name(), err)
	}
	return nil
}

// removeCopy removes the copy of the backup on a machine, whose data are in place.
func removeCopy(ctx context.Context, h machine.Host) error {
	if _, err := sh(ctx, h, "rm -rf %s", layout.RecoveryDir); err != nil {
		return fmt.Errorf("remove the copy of the backup on %q: %w", h.Name(), err)
	}
	return nil
}
