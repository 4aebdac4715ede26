package check

import (
	"context"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/inspect"
)

func TestGPUsOfAMachine(t *testing.T) {
	t.Parallel()
	const one, two = "0000:41:00.0", "0000:c1:00.0"
	of := func(count int, change func(*inspect.GPUs)) Result {
		g := inspect.GPUs{
			Bus: []string{one, two}, Drivers: map[string]string{one: "nvidia", two: "nvidia"}, Module: "535.261", Libraries: []string{"535.261"},
			Tool: &inspect.GPUTool{Listed: []string{one, two}}, LogRead: true,
		}
		if change != nil {
			change(&g)
		}
		return gpusOf(gpuMachine{name: "m2", sku: "a100", count: count}, g)
	}
	expect(t, []expectation{
		{"healthy", of(2, nil), OK, "2 GPUs, driver 535.261"},
		{"library in a directory that PAI does not know", of(2, func(g *inspect.GPUs) { g.Libraries = nil }), OK, "driver 535.261"},
		{"an older library beside the one that works", of(2, func(g *inspect.GPUs) { g.Libraries = []string{"470.1"} }), OK, ""},
		{"GPUs of another vendor", of(2, func(g *inspect.GPUs) { *g = inspect.GPUs{Others: 8} }), OK, "another vendor"},
		{"no GPU", of(2, func(g *inspect.GPUs) { *g = inspect.GPUs{LogRead: true} }), Failed, "no GPU on the PCI bus; the machine-sku a100 has 2"},
		{"no driver", of(2, func(g *inspect.GPUs) { *g = inspect.GPUs{Bus: g.Bus} }), Failed, "2 GPUs and no driver: no module serves them"},
		{"another module", of(2, func(g *inspect.GPUs) { *g = inspect.GPUs{Bus: g.Bus, Drivers: map[string]string{one: "nouveau"}} }), Failed, "module nouveau serves GPU " + one},
		{"module not loaded", of(2, func(g *inspect.GPUs) { g.Module, g.Tool = "", nil }), Failed, "not loaded (libraries 535.261)"},
		{"mismatch", of(2, func(g *inspect.GPUs) {
			g.Libraries, g.Tool = []string{"550.1"}, &inspect.GPUTool{Failed: "exit status 18"}
		}), Failed, "kernel module has version 535.261, the libraries have 550.1"},
		{"mismatch that only nvidia-smi knows", of(2, func(g *inspect.GPUs) {
			g.Tool = &inspect.GPUTool{Said: "Failed to initialize NVML: Driver/library version mismatch", Failed: "exit status 18"}
		}), Failed, "kernel module has version 535.261"},
		{"nvidia-smi not asked", of(2, func(g *inspect.GPUs) { g.Tool = nil }), Unknown, "nvidia-smi"},
		{"nvidia-smi hangs", of(2, func(g *inspect.GPUs) { g.Tool = &inspect.GPUTool{Stuck: true, Failed: "no answer within 12s"} }), Failed, "hangs: no answer within 12s"},
		{"nvidia-smi fails", of(2, func(g *inspect.GPUs) { g.Tool = &inspect.GPUTool{Failed: "exit status 9", Said: "no driver"} }), Failed, "fails: exit status 9 no driver"},
		{"nvidia-smi ends well and finds nothing", of(2, func(g *inspect.GPUs) { g.Tool = &inspect.GPUTool{Said: "No devices were found"} }), Failed, `lists no GPU; the bus has 2: "No devices were found"`},
		{"nvidia-smi says nothing at all", of(2, func(g *inspect.GPUs) { g.Tool = &inspect.GPUTool{} }), Failed, "it says nothing"},
		{"fewer than the SKU", of(4, nil), Failed, "lists 2 GPUs; the machine-sku a100 has 4"},
		{"more than the SKU", of(1, nil), Warning, "correct layout.yaml"},
		{"fell off the bus", of(2, func(g *inspect.GPUs) { g.Tool.Listed, g.Lost = []string{one}, []string{two} }), Failed, "GPU " + two + " fell off the bus (Xid 79)"},
		{"fell off and left the bus", of(2, func(g *inspect.GPUs) { g.Bus, g.Tool.Listed, g.Lost = []string{one}, []string{one}, []string{two} }), Failed, "fell off the bus (Xid 79)"},
		{"came back", of(2, func(g *inspect.GPUs) { g.Lost = []string{two} }), Warning, "and is back"},
		{"on the bus and not listed", of(1, func(g *inspect.GPUs) { g.Tool.Listed = []string{one} }), Failed, "GPU " + two + " is on the bus, and nvidia-smi does not list it"},
		{"device file missing", of(2, func(g *inspect.GPUs) { g.Missing = []string{"/dev/nvidia1"} }), Failed, "device files are missing: /dev/nvidia1"},
		{"nvidia-smi says more", of(2, func(g *inspect.GPUs) { g.Tool.Said = "Warning: infoROM is corrupted" }), Warning, "infoROM"},
		{"log unknown", of(2, func(g *inspect.GPUs) { g.LogRead = false }), Warning, "kernel log could not be read"},
	})
}

// A driver blocks no operation: what is wrong with it, or unknown, is a warning before
// one. Other checks still block, and `paictl check` still fails.
func TestDriversBlockNoOperation(t *testing.T) {
	t.Parallel()
	for stage, want := range map[Stage]Outcome{Boot: Warning, Upgrade: Warning, Standalone: Unknown} {
		found, blocks := 0, false
		for _, r := range Run(t.Context(), unobservable(), RunOptions{Stage: stage}) {
			if r.ID == "machine-gpus" {
				found++
				if r.Outcome != want || r.Target != "m1" || !strings.Contains(r.Found, errTest.Error()) {
					t.Errorf("stage %d: got %+v, want %s", stage, r, want)
				}
			}
			blocks = blocks || r.ID == "machine-kernel" && r.Bad()
		}
		if found != 1 || !blocks {
			t.Errorf("stage %d: got %d results, and other checks block: %v", stage, found, blocks)
		}
	}
	slow := Check{ID: "slow", stages: Boot | onlyWarns, evaluate: func(ctx context.Context, _ *world) ([]Result, error) { <-ctx.Done(); return nil, ctx.Err() }}
	if r := runAll(t.Context(), []Check{slow}, nil, 10*time.Millisecond); len(r) != 1 || r[0].Outcome != Warning {
		t.Errorf("got %+v for one that takes too long, want a warning", r)
	}
}

// Machines without GPUs in the layout are not asked.
func TestOnlyMachinesWithGPUsAreAsked(t *testing.T) {
	t.Parallel()
	in := unobservable()
	in.Config = testConfig()
	results, err := gpus(t.Context(), newWorld(t.Context(), in))
	if len(results) != 0 || err != nil {
		t.Errorf("got %+v, %v", results, err)
	}
}
