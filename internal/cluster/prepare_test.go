package cluster

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/fingerprint"
	"pai.dev/pai/internal/inspect"
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
