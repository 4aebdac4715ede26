package inspect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// Shim is the shim of a running container, or of the sandbox of a pod.
type Shim struct {
	Container
	Sandbox bool `json:"sandbox,omitempty"`
	// Problem is why the shim is not responding for the container; empty if it is.
	Problem string `json:"problem,omitempty"`
}

// Limits of the question to one shim, and to all shims of a machine. When containerd
// starts, it deletes a container whose shim is not responding within 5 seconds
// (io.containerd.timeout.shim.load), so a slow answer counts as none.
const (
	shimTimeout  = 2 * time.Second
	shimsTimeout = 10 * time.Second
)

// parallelShims is how many shims are asked in parallel.
const parallelShims = 16

// shims asks the shim of each running container and of each sandbox, as containerd
// does when it starts (core/runtime/v2/shim_load.go).
func (i *inspection) shims(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, shimsTimeout, fmt.Errorf("not asked, because the other shims took %s", shimsTimeout))
	defer cancel()
	ids, err := i.tasks()
	if err != nil {
		return err
	}
	shims := []Shim{}
	for _, id := range ids {
		c, kind, err := i.container(id)
		if err != nil {
			return err
		}
		if kind != noTask {
			shims = append(shims, Shim{Container: c, Sandbox: kind == sandboxTask})
		}
	}
	var group errgroup.Group
	group.SetLimit(parallelShims)
	for n := range shims {
		group.Go(func() error {
			if err := i.askShim(ctx, shims[n].ID); err != nil {
				shims[n].Problem = err.Error()
			}
			return nil
		})
	}
	_ = group.Wait() // the errors are in the list
	i.report.Shims = shims
	return nil
}

// bootstrap is the file bootstrap.json in a bundle directory: how a shim is reached.
type bootstrap struct {
	Version  int    `json:"version"` // of the task service
	Address  string `json:"address"`
	Protocol string `json:"protocol"`
}

// askShim asks the shim of a task for the first process of the task.
func (i *inspection) askShim(ctx context.Context, id string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, shimTimeout, fmt.Errorf("no answer within %s", shimTimeout))
	defer cancel()
	if err := i.shimProgram(id); err != nil {
		return err
	}
	data, err := i.read(tasksDir + "/" + id + "/bootstrap.json")
	if err != nil {
		return err
	}
	var b bootstrap
	if err := json.Unmarshal(data, &b); err != nil {
		return fmt.Errorf("read bootstrap.json: %w", err)
	}
	socket, isUnix := strings.CutPrefix(b.Address, "unix://")
	if !isUnix || b.Protocol != "ttrpc" || b.Version < 2 || b.Version > 3 {
		return fmt.Errorf("unknown kind of shim: version %d, protocol %q, address %q", b.Version, b.Protocol, b.Address)
	}
	pid, err := i.connectTask(ctx, socket, fmt.Sprintf("containerd.task.v%d.Task", b.Version), id)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded) || err != nil && ctx.Err() != nil:
		<-ctx.Done() // the deadline of the connection is that of the context
		return context.Cause(ctx)
	case err == nil && pid == 0:
		return errors.New("it does not know the container")
	}
	return err
}

// shimProgram checks that the program of the shim exists. A containerd that starts
// deletes the bundle of a container without it.
func (i *inspection) shimProgram(id string) error {
	program, err := i.read(tasksDir + "/" + id + "/shim-binary-path")
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it joined the shim of its sandbox
	}
	if err != nil {
		return err
	}
	there, err := i.exists(string(program))
	if err == nil && !there {
		err = fmt.Errorf("its program %s was removed", program)
	}
	return err
}

// connectTask calls Connect of a task service and returns the first process of the
// task.
func (i *inspection) connectTask(ctx context.Context, socket, service, id string) (uint64, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", i.at(socket))
	if err != nil {
		return 0, i.plain(err)
	}
	defer conn.Close()
	if deadline, limited := ctx.Deadline(); limited {
		if err := conn.SetDeadline(deadline); err != nil {
			return 0, err
		}
	}
	answer, err := ttrpcCall(conn, service, "Connect", stringField(1, id))
	if err != nil {
		return 0, err
	}
	return varintField(answer, 2)
}
