package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/poll"
)

// detached is a script that a transient unit runs on a machine, so that it ends also if
// the connection is lost.
type detached struct {
	what       string // as errors name it
	unit       string
	log        string   // name of the file below layout.StateDir that the script writes
	command    string   // in the syntax of the shell
	properties []string // of the unit
	timeout    time.Duration
}

// run runs the script and waits for its end. After a lost connection it waits as well, and
// Done checks the result.
func (d detached) run(ctx context.Context, h machine.Host) error {
	limited, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	properties := ""
	for _, p := range append([]string{"Type=exec"}, d.properties...) {
		properties += " --property=" + p
	}
	// systemd-run fails while an earlier run continues, so wait for that one.
	_, err := sh(limited, h, `
while systemctl is-active -q %[1]s; do sleep 0.2; done
rm -f %[2]s/%[3]s
systemd-run --quiet --collect --wait --unit=%[1]s%[4]s %[5]s || { cat %[2]s/%[3]s >&2; exit 1; }`,
		d.unit, layout.StateDir, d.log, properties, d.command)
	if !errors.Is(err, machine.ErrConnectionLost) {
		return err
	}
	wait := poll.Wait{For: fmt.Sprintf("the end of the %s after the connection was lost", d.what), Timeout: d.timeout, Every: time.Second}
	return wait.Until(ctx, func(ctx context.Context) (bool, error) {
		out, err := sh(ctx, h, "if systemctl is-active -q %s; then echo running; fi", d.unit)
		return out == "", err
	})
}
