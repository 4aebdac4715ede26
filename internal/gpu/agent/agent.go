// Package agent is the program that offers the GPUs of a machine. It finds them, writes
// what the container runtime needs, offers them to the kubelet, watches their health, and
// measures them. It changes no container.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"pai.dev/pai/internal/gpu"
	"pai.dev/pai/internal/gpu/plugin"
	"pai.dev/pai/internal/poll"
)

// Options are what the agent works with.
type Options struct {
	Root         string // has the files of the driver; "/" but for tests
	PluginDir    string // of the kubelet
	PodResources string // socket of the kubelet
	SpecFile     string // for the container runtime
	HealthFile   string // what is known of unhealthy GPUs; a reboot removes it
	StatusFile   string // what the agent does now
	MetricsFile  string // for node-exporter
	// Open opens the driver. Prepare makes device files that are missing; it can be nil.
	Open    func() (gpu.Library, error)
	Prepare func(ctx context.Context)
	Timings Timings
	Log     *slog.Logger
}

// Timings are the pauses of the agent.
type Timings struct {
	Look  time.Duration // between two looks at the GPUs
	Retry time.Duration // before the driver is opened again
	// DriverTimeout is how long the driver can fail before the kubelet learns that there are
	// no GPUs. A driver that is being loaded needs seconds.
	DriverTimeout time.Duration
}

// DefaultTimings are those of a machine.
func DefaultTimings() Timings {
	return Timings{Look: 15 * time.Second, Retry: 5 * time.Second, DriverTimeout: 20 * time.Second}
}

// agent is one run. Only the loop changes it.
type agent struct {
	Options
	plugin     *plugin.Plugin
	known      health
	gpus       []gpu.Device // all that were seen in this run
	broken     map[string]error
	driver     string
	problem    string // why there is no driver
	registered atomic.Bool
	wake       chan struct{} // registered changed
	offer      func()        // starts the registration
}

// Run runs until ctx ends.
func Run(ctx context.Context, o Options) error {
	if err := remove(o.StatusFile); err != nil {
		return err
	}
	known, err := readHealth(o.HealthFile)
	if err != nil {
		// Broken GPUs are offered again, so it is logged.
		o.Log.Error("what was known of unhealthy GPUs is lost", "error", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	a := &agent{Options: o, plugin: plugin.New(), known: known, wake: make(chan struct{}, 1)}
	registration := plugin.Registration{
		Plugin: a.plugin, Dir: o.PluginDir, Socket: fmt.Sprintf("pai-gpu-%d.sock", os.Getpid()), Log: o.Log,
		Registered: func(now bool) {
			a.registered.Store(now)
			select {
			case a.wake <- struct{}{}:
			default:
			}
		},
	}
	var once sync.Once
	a.offer = func() { once.Do(func() { wg.Go(func() { registration.Run(ctx) }) }) }
	a.loop(ctx)
	return errors.Join(remove(o.StatusFile), remove(o.MetricsFile))
}

// loop opens the driver, and again whenever it failed.
func (a *agent) loop(ctx context.Context) {
	began := time.Now()
	for ctx.Err() == nil {
		err := a.session(ctx)
		if ctx.Err() != nil {
			return
		}
		a.Log.Error("the driver does not work; trying again", "error", err)
		a.driver, a.problem = "", err.Error()
		a.broken = map[string]error{}
		for _, d := range a.gpus {
			a.broken[d.UUID] = err
		}
		a.publish(ctx, nil)
		if time.Since(began) >= a.Timings.DriverTimeout {
			a.offer()
		}
		a.pause(ctx, a.Timings.Retry)
	}
}

// pause waits, and writes the status when the registration changes.
func (a *agent) pause(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	for ctx.Err() == nil {
		select {
		case <-a.wake:
			a.writeStatus()
		case <-ctx.Done():
		}
	}
}

// session uses the driver until it fails or ctx ends.
func (a *agent) session(ctx context.Context) error {
	library, err := a.Open()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer library.Close()
	defer wg.Wait()
	defer cancel()
	if a.Prepare != nil {
		a.Prepare(ctx)
	}
	if err := a.look(ctx, library); err != nil {
		return err
	}
	a.problem = ""
	a.offer()
	a.Log.Info("offering GPUs", "driver", a.driver, "count", len(a.gpus))
	events := make(chan gpu.Event)
	watched := uuids(a.gpus) // a later look replaces them
	wg.Go(func() { a.watch(ctx, library, watched, events) })
	tick := time.NewTicker(a.Timings.Look)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-a.wake:
			a.writeStatus()
		case e := <-events:
			a.record(ctx, e)
			err = a.look(ctx, library)
		case <-tick.C:
			err = a.look(ctx, library)
		}
		if err != nil {
			return err
		}
	}
}

// watch passes events on, and starts again if the driver stops reporting them.
func (a *agent) watch(ctx context.Context, library gpu.Library, uuids []string, to chan<- gpu.Event) {
	for ctx.Err() == nil {
		err := library.Watch(ctx, uuids, func(uuid string, err error) {
			a.Log.Warn("the driver reports no errors of this GPU", "gpu", uuid, "error", err)
		}, func(e gpu.Event) {
			select {
			case to <- e:
			case <-ctx.Done():
			}
		})
		if ctx.Err() == nil {
			a.Log.Error("the driver reports no events; trying again", "error", err)
			_ = poll.Sleep(ctx, a.Timings.Retry) // the loop looks at ctx
		}
	}
}

func uuids(devices []gpu.Device) []string {
	var ids []string
	for _, d := range devices {
		ids = append(ids, d.UUID)
	}
	return ids
}
