package hostsfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/poll"
)

// Every is the pause between two looks at /etc/hosts.
const Every = 5 * time.Second

// Keeper puts the lines of PAI back when another program has replaced /etc/hosts, as
// cloud-init and programs that manage configurations do.
type Keeper struct {
	Root  string // of the machine
	Every time.Duration
	Log   *slog.Logger

	// wrong is the file as the last look found it, if it lacked lines. Two looks must
	// find the same, so that a file that is being written is left alone.
	wrong []byte
}

// Keep looks until the context ends. It does not wait for changes, because a file that is
// replaced, moved, or mounted over is another one for the kernel.
func (k *Keeper) Keep(ctx context.Context) {
	said := ""
	for ctx.Err() == nil {
		restored, err := k.look()
		text := ""
		if err != nil {
			text = err.Error()
		}
		if text != "" && text != said {
			k.Log.Warn("the lines of PAI in "+layout.HostsFile+" could not be compared or restored; trying again", "error", text)
		}
		said = text
		if restored {
			k.Log.Warn("another program wrote " + layout.HostsFile + " without the lines of PAI; they are restored")
		}
		_ = poll.Sleep(ctx, k.Every) // the loop looks at the context
	}
}

// look compares the lines with those of the prepare script, which are what the machine was
// prepared with, also by another release. Without the script, PAI wants none.
func (k *Keeper) look() (restored bool, err error) {
	script, err := os.ReadFile(filepath.Join(k.Root, layout.PrepareScript))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	want := Own(script)
	file := filepath.Join(k.Root, layout.HostsFile)
	text, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	own, others := split(text)
	if len(want) == 0 || bytes.Equal(own, want) {
		k.wrong = nil
		return false, nil
	}
	seen := append([]byte{}, text...) // never nil
	if k.wrong == nil || !bytes.Equal(k.wrong, seen) {
		k.wrong = seen
		return false, nil
	}
	k.wrong = nil
	if err := write(file, append(others, want...)); err != nil {
		return false, fmt.Errorf("write %s: %w", layout.HostsFile, err)
	}
	return true, nil
}

// write changes the file itself: it can be a mount point or a link, and another program can
// have given it a label. It is never empty in between, because programs read it meanwhile.
func write(file string, text []byte) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(text, 0)
	if err == nil {
		err = f.Truncate(int64(len(text)))
	}
	return errors.Join(err, f.Sync(), f.Close())
}
