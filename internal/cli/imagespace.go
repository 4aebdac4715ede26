package cli

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"pai.dev/pai/internal/cli/ui"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
)

const (
	// packedGrows is how much larger than itself a packed layer is when it is unpacked. It
	// is an estimate: programs and libraries shrink to a third, models hardly.
	packedGrows = 2
	// spareOfImages stays free, as before an upgrade (machine-disk).
	spareOfImages = 1 << 30
)

// imageSize is what a machine stores of an archive.
type imageSize struct {
	archive  int64 // bytes
	unpacked int64 // estimated
}

// add counts a file of the archive.
func (s *imageSize) add(h *tar.Header, r io.Reader) error {
	if h.Typeflag != tar.TypeReg {
		return nil
	}
	start := make([]byte, 6)
	n, err := io.ReadFull(r, start)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	grows := int64(1)
	for _, p := range packings {
		if bytes.HasPrefix(start[:n], p.magic) {
			grows = packedGrows
		}
	}
	s.archive += h.Size
	s.unpacked += grows * h.Size
	return nil
}

// checkImageSpace refuses before anything is copied if the images do not fit on a machine
// that lacks them: on a full disk, tasks fail.
func checkImageSpace(ctx context.Context, hosts []machine.Host, file *imageFile) error {
	short := make([]string, len(hosts))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(machinesAtOnce)
	for i, h := range hosts {
		group.Go(func() (err error) {
			short[i], err = lacksSpace(ctx, h, file)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if short = slices.DeleteFunc(short, func(s string) bool { return s == "" }); len(short) == 0 {
		return nil
	}
	return pai.Errorf(pai.CodeRefused, "free space there and run the command again; nothing was loaded",
		"%s needs about %s on each machine (%s for the archive, about %s unpacked, %s in reserve), but %s", file.path, ui.Size(file.size.needed()),
		ui.Size(file.size.archive), ui.Size(file.size.unpacked), ui.Size(spareOfImages), strings.Join(short, ", and "))
}

func (s imageSize) needed() int64 { return s.archive + s.unpacked + spareOfImages }

// lacksSpace says what a machine has, if that is not enough; empty if it is.
func lacksSpace(ctx context.Context, h machine.Host, file *imageFile) (string, error) {
	out, err := h.Run(ctx, machine.Command{Script: "df -Pk " + layout.ContainerdDir})
	if err != nil {
		return "", fmt.Errorf("look for free space on %q: %w", h.Name(), err)
	}
	free, err := parseFree(out.Stdout)
	if err != nil {
		return "", fmt.Errorf("look for free space on %q: %w", h.Name(), err)
	}
	if free >= file.size.needed() {
		return "", nil
	}
	// What it has already takes no further space, so a command that is repeated continues.
	there, err := listImages(ctx, []machine.Host{h})
	if err != nil || file.isOn(there) {
		return "", err
	}
	return fmt.Sprintf("machine %s has %s free in %s", h.Name(), ui.Size(free), layout.ContainerdDir), nil
}

// isOn reports whether all images are among those of a machine.
func (f *imageFile) isOn(there []imageOnMachines) bool {
	return !slices.ContainsFunc(f.names, func(name string) bool {
		return f.digests[name] == "" || !slices.ContainsFunc(there, func(i imageOnMachines) bool { return i.Name == name && i.Digest == f.digests[name] })
	})
}

// parseFree reads the column "Available" of "df -Pk".
func parseFree(out string) (int64, error) {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if fields := strings.Fields(lines[len(lines)-1]); len(lines) > 1 && len(fields) >= 6 {
		if kilobytes, err := strconv.ParseInt(fields[3], 10, 64); err == nil {
			return kilobytes << 10, nil
		}
	}
	return 0, fmt.Errorf("the answer of df cannot be read: %.200q", out)
}
