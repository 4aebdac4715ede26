package cluster

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/fingerprint"
	"pai.dev/pai/internal/inspect"
	"pai.dev/pai/internal/inspect/helper"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/test/inspecttest"
)

func TestOutdatedFiles(t *testing.T) {
	t.Parallel()
	files := map[string]preparedFile{"/etc/same": {content: "a"}, "/etc/changed": {content: "b"}, "/etc/missing": {content: "c"}}
	there := &inspect.Preparation{Files: map[string]string{"/etc/same": fingerprint.Of([]byte("a")), "/etc/changed": fingerprint.Of([]byte("old"))}}
	if got, want := outdated(there, files), []string{"/etc/changed", "/etc/missing"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestPrepareReloadsSystemdOnlyForUnits(t *testing.T) {
	t.Parallel()
	cfg := testConfig()
	m := cfg.ControlPlane()
	files, err := preparedFiles(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, changed string
		reload        bool
	}{
		{"unit", layout.UnitsDir + "/" + layout.PrepareUnit, true},
		{"script", layout.PrepareScript, false},
	} {
		h := inspecttest.NewHost(t, m.Hostname)
		for _, there := range []map[string]preparedFile{files, roleUnits(m)} {
			for path, f := range there {
				h.Write(path, f.content)
			}
		}
		h.Write(c.changed, "old")
		h.Write(layout.HostsFile, "127.0.0.1 localhost\n"+strings.Join(hostLines(cfg), " # pai\n")+" # pai\n")
		cl := &cluster{Deps: Deps{Config: cfg, Hosts: map[string]machine.Host{m.Hostname: h}}}
		step := plan.Step{Kind: plan.KindPrepare}
		if done, err := cl.prepareDone(t.Context(), h, m, step); done || err != nil {
			t.Errorf("%s: got done %v, %v before, want false", c.name, done, err)
		}
		before, err := readPrepared(t.Context(), h)
		if err != nil {
			t.Fatal(err)
		}
		if missing := outdated(before, files); !slices.Equal(missing, []string{c.changed}) {
			t.Errorf("%s: got %v as outdated, want only %s", c.name, missing, c.changed)
		}
		if err := cl.prepare(t.Context(), h, m, step); err != nil {
			t.Fatal(err)
		}
		if done, err := cl.prepareDone(t.Context(), h, m, step); done || err != nil {
			t.Errorf("%s: got done %v, %v while the units are inactive, want false", c.name, done, err)
		}
		for _, unit := range []string{layout.PrepareUnit, layout.ShutdownUnit, layout.CertificatesUnit} {
			h.Units[unit] = inspecttest.Unit{State: "active"}
		}
		if done, err := cl.prepareDone(t.Context(), h, m, step); !done || err != nil {
			t.Errorf("%s: got done %v, %v, want true", c.name, done, err)
		}
		h.Write(layout.HostsFile, "127.0.0.1 localhost\n")
		if done, err := cl.prepareDone(t.Context(), h, m, step); done || err != nil {
			t.Errorf("%s: got done %v, %v without the names of the machines, want false", c.name, done, err)
		}
		if got := h.Ran("systemctl daemon-reload"); got != c.reload {
			t.Errorf("%s: got reload %v, want %v", c.name, got, c.reload)
		}
	}
}

// The unit of a role is written where it is missing, so that systemd reads all
// units once. An older one is left to the step of the role.
func TestPrepareWritesMissingUnits(t *testing.T) {
	t.Parallel()
	cfg := testConfig()
	m := cfg.Workers()[0]
	files, err := preparedFiles(cfg)
	if err != nil {
		t.Fatal(err)
	}
	h := inspecttest.NewHost(t, m.Hostname)
	maps.Copy(files, roleUnits(m))
	missing, older := layout.UnitFile(plan.RoleKubelet), layout.UnitFile(plan.RoleNetwork)
	for path, f := range files {
		if path != missing {
			h.Write(path, f.content)
		}
	}
	h.Write(older, "[Unit]\n")
	cl := &cluster{Deps: Deps{Config: cfg}}
	if err := cl.prepare(t.Context(), h, m, plan.Step{Kind: plan.KindPrepare}); err != nil {
		t.Fatal(err)
	}
	there, err := readPrepared(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	if there.Files[missing] != fingerprint.Of([]byte(files[missing].content)) || there.Files[older] != fingerprint.Of([]byte("[Unit]\n")) || !h.Ran("systemctl daemon-reload") {
		t.Errorf("want %s written, %s left alone, and a reload", missing, older)
	}
	if _, found := roleUnits(m)[layout.UnitFile(plan.RoleEtcdA)]; found {
		t.Error("a worker gets the unit of etcd")
	}
}

// A preparation that was killed after it had written the files leaves units that run as the
// older files say. The step is not done, and systemd reads the files again.
func TestPreparationThatWasKilledIsNotDone(t *testing.T) {
	t.Parallel()
	cfg := testConfig()
	m := cfg.ControlPlane()
	step := plan.Step{Kind: plan.KindPrepare}
	const pid = 70
	for name, outdate := range map[string]func(h *inspecttest.Host){
		"systemd has the older unit": func(h *inspecttest.Host) {
			h.Units[layout.ShutdownUnit] = inspecttest.Unit{State: "active", Reload: true}
		},
		"the older program runs": func(h *inspecttest.Host) {
			h.Process(pid, layout.HelperDir+"/0123456789abcdef/pai-machine", []string{"certificates"}, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, cl := preparedMachine(t, cfg, m)
			h.Process(pid, layout.Helper(helper.Digest())+" (deleted)", []string{"certificates"}, nil)
			h.Units[layout.CertificatesUnit] = inspecttest.Unit{State: "active", PID: pid}
			before, _, err := Observe(t.Context(), h)
			if err != nil || !before.Prepared || before.PreparedAs == "" {
				t.Fatalf("got %+v, %v, want a prepared machine", before, err)
			}
			if done, err := cl.prepareDone(t.Context(), h, m, step); !done || err != nil {
				t.Fatalf("got done %v, %v before, want true", done, err)
			}
			h.Process(pid, "/usr/lib/systemd/systemd", nil, nil)
			if done, err := cl.prepareDone(t.Context(), h, m, step); !done || err != nil {
				t.Errorf("got done %v, %v before the process runs its program, want true", done, err)
			}
			outdate(h)
			if done, err := cl.prepareDone(t.Context(), h, m, step); done || err != nil {
				t.Errorf("got done %v, %v, want false", done, err)
			}
			if got, _, err := Observe(t.Context(), h); err != nil || got.PreparedAs != "" {
				t.Errorf("the planner gets %q, %v, want what no preparation has", got.PreparedAs, err)
			}
			if err := cl.prepare(t.Context(), h, m, step); err != nil {
				t.Fatal(err)
			}
			if !h.Ran("systemctl daemon-reload") || !h.Ran("systemctl restart "+layout.CertificatesUnit) {
				t.Errorf("got scripts %q, want the units read and started again", h.Scripts)
			}
		})
	}
}

// preparedMachine is a machine that was prepared.
func preparedMachine(t *testing.T, cfg *config.Config, m config.Machine) (*inspecttest.Host, *cluster) {
	t.Helper()
	files, err := preparedFiles(cfg)
	if err != nil {
		t.Fatal(err)
	}
	h := inspecttest.NewHost(t, m.Hostname)
	for _, there := range []map[string]preparedFile{files, roleUnits(m)} {
		for path, f := range there {
			h.Write(path, f.content)
		}
	}
	h.Write(layout.HostsFile, "127.0.0.1 localhost\n"+strings.Join(hostLines(cfg), " # pai\n")+" # pai\n")
	for _, unit := range []string{layout.PrepareUnit, layout.ShutdownUnit, layout.CertificatesUnit} {
		h.Units[unit] = inspecttest.Unit{State: "active"}
	}
	return h, &cluster{Deps: Deps{Config: cfg, Hosts: map[string]machine.Host{m.Hostname: h}}}
}

// A machine that an older release prepared has no certificate program, which is no fault.
func TestOlderPreparationIsNotOutdated(t *testing.T) {
	t.Parallel()
	cfg := testConfig()
	m := cfg.ControlPlane()
	h, _ := preparedMachine(t, cfg, m)
	if err := os.Remove(h.At(layout.UnitsDir + "/" + layout.CertificatesUnit)); err != nil {
		t.Fatal(err)
	}
	delete(h.Units, layout.CertificatesUnit)
	if got, _, err := Observe(t.Context(), h); err != nil || !got.Prepared {
		t.Errorf("got prepared %v, %v, want a prepared machine", got.Prepared, err)
	}
	if there, err := readPrepared(t.Context(), h); err != nil || unitsOutdated(there) {
		t.Errorf("got %+v, %v, want no unit that is outdated", there, err)
	}
}

// The unit of the prepare script stays active while a new script did not run, so it stops
// before the script is written.
func TestNewPrepareScriptCountsOnlyAfterItRan(t *testing.T) {
	t.Parallel()
	cfg := testConfig()
	m := cfg.ControlPlane()
	made, cl := preparedMachine(t, cfg, m)
	made.Write(layout.PrepareScript, "old")
	h := &scriptOrder{Host: made}
	if err := cl.prepare(t.Context(), h, m, plan.Step{Kind: plan.KindPrepare}); err != nil {
		t.Fatal(err)
	}
	if !h.inOrder("systemctl stop "+layout.PrepareUnit, "write "+layout.PrepareScript, "systemctl restart "+layout.PrepareUnit) {
		t.Errorf("got %q, want the unit stopped, the script written, and the unit started", h.did)
	}
}

// The unit of a role can be written while systemd has not read it yet: the step was killed in
// between.
func TestWrittenUnitOfARoleIsRead(t *testing.T) {
	t.Parallel()
	c := scripted(t)
	h := c.hosts["pai-1"]
	unit := layout.Unit(plan.RoleScheduler)
	reloaded := func(state inspecttest.Unit) bool {
		h.Units[unit], h.Scripts = state, nil
		if err := (&cluster{Deps: c.deps}).renderRole(t.Context(), h, c.deps.Config.ControlPlane(), comparedVersion, plan.RoleScheduler); err != nil {
			t.Fatal(err)
		}
		return h.Ran("systemctl daemon-reload")
	}
	if reloaded(inspecttest.Unit{State: "active"}) {
		t.Error("systemd reads again what did not change")
	}
	if !reloaded(inspecttest.Unit{State: "active", Reload: true}) {
		t.Error("systemd does not read the unit that was written")
	}
}
