package cluster

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
)

func gatedHost(files map[string]string) *fakeHost {
	h := &fakeHost{files: files}
	h.run = func(string) (string, error) { return "", nil }
	return h
}

func TestGateLetsInOnlyWhatWasAdmitted(t *testing.T) {
	t.Parallel()
	h := gatedHost(map[string]string{})
	c := &cluster{Deps: Deps{Config: &config.Config{Kubernetes: config.Kubernetes{APIServersPort: 6443}}}}
	m := config.Machine{Hostname: "gpu-01", HostIP: "10.0.0.2"}
	if in, err := isLetIn(t.Context(), h, m); err != nil || !in {
		t.Errorf("without a gate: got %t, %v, want that the machine is let in", in, err)
	}
	if err := writeGate(t.Context(), h, 6443, nil); err != nil {
		t.Fatal(err)
	}
	rules := h.files[layout.GateFile]
	if strings.Contains(rules, "saddr") || !strings.Contains(rules, "reject with tcp reset") || !strings.Contains(rules, "tcp dport != 6443 accept") {
		t.Errorf("got rules\n%s\nwant no machine, and all other ports open", rules)
	}
	if in, err := isLetIn(t.Context(), h, m); err != nil || in {
		t.Errorf("with a shut gate: got %t, %v, want that the machine is kept out", in, err)
	}
	for _, one := range []config.Machine{m, {Hostname: "gpu-02", HostIP: "10.0.0.3"}, {Hostname: "gpu-03", HostIP: "fd00::3"}, m} {
		if err := c.letIn(t.Context(), h, one); err != nil {
			t.Fatal(err)
		}
		if in, err := isLetIn(t.Context(), h, one); err != nil || !in {
			t.Errorf("%s: got %t, %v after it was admitted", one.Hostname, in, err)
		}
	}
	allowed, shut, err := readGate(t.Context(), h)
	want := []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3"), netip.MustParseAddr("fd00::3")}
	if err != nil || !shut || !slices.Equal(allowed, want) {
		t.Errorf("got %v, %t, %v, want %v", allowed, shut, err, want)
	}
	if in, err := isLetIn(t.Context(), h, config.Machine{Hostname: "gpu-04", HostIP: "10.0.0.4"}); err != nil || in {
		t.Errorf("a machine that was not admitted: got %t, %v", in, err)
	}
}

// A machine that is in the file of the gate, but not in the kernel, because a run died in
// between, is let in by the next one.
func TestGateFileReachesTheKernel(t *testing.T) {
	t.Parallel()
	m := config.Machine{Hostname: "gpu-01", HostIP: "10.0.0.2"}
	h := gatedHost(map[string]string{layout.GateFile: gateRules(6443, []netip.Addr{netip.MustParseAddr(m.HostIP)})})
	c := &cluster{Deps: Deps{Config: &config.Config{Kubernetes: config.Kubernetes{APIServersPort: 6443}}}}
	if err := c.letIn(t.Context(), h, m); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(h.scripts, func(s string) bool { return strings.Contains(s, "nft -f "+layout.GateFile) }) {
		t.Errorf("got scripts %q, want the rules in the kernel", h.scripts)
	}
	if allowed, _, err := readGate(t.Context(), h); err != nil || len(allowed) != 1 {
		t.Errorf("got %v, %v, want the machine once", allowed, err)
	}
}

// The proxy of the control plane does not start without its gate.
func TestProxyNeedsItsGate(t *testing.T) {
	t.Parallel()
	for _, line := range []string{"RequiredBy=" + layout.Unit(layout.RoleAPIProxy), "Before=" + layout.Unit(layout.RoleAPIProxy) + " network.target", "# Written by PAI."} {
		if !strings.Contains(gateUnitFile, line) {
			t.Errorf("the unit of the gate lacks %q", line)
		}
	}
}

// When the gate stops, the proxy does not need it any more: it would stop as well.
func TestProxyOutlivesItsGate(t *testing.T) {
	t.Parallel()
	h := gatedHost(map[string]string{})
	if err := removeGate(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	script := h.scripts[0]
	disable, reload, stop := strings.Index(script, "disable"), strings.Index(script, "daemon-reload"), strings.Index(script, "systemctl stop")
	if disable < 0 || reload < disable || stop < reload {
		t.Errorf("got\n%s\nwant disable, daemon-reload, stop", script)
	}
}

// Restored data are not served before they were compared with the machines.
func TestRestoredDataAreReconciledFirst(t *testing.T) {
	t.Parallel()
	for stage, want := range map[RecoveryStage]bool{RecoveryStarted: false, RecoveryData: false, RecoveryReconciled: true, RecoveryTokens: true, RecoveryOpening: true, RecoveryDone: true} {
		h := gatedHost(map[string]string{})
		if err := writeRecovered(t.Context(), h, Recovered{Backup: "b", Stage: stage}); err != nil {
			t.Fatal(err)
		}
		if err := checkReconciled(t.Context(), h); (err == nil) != want {
			t.Errorf("%s: got %v, want it served: %t", stage, err, want)
		}
	}
	if err := checkReconciled(t.Context(), gatedHost(map[string]string{})); err != nil {
		t.Errorf("without a restore: %v", err)
	}
}

// With data of etcd, a missing key is an error, never a reason to make another one.
func TestNoNewKeysForOldData(t *testing.T) {
	t.Parallel()
	h := gatedHost(map[string]string{})
	h.run = func(script string) (string, error) {
		if strings.HasPrefix(script, "for s in a b") {
			return "a", nil
		}
		if strings.Contains(script, layout.EncryptionFile) && strings.Contains(script, "-s ") {
			return layout.EncryptionFile, nil
		}
		t.Errorf("a script runs although a key is missing: %s", script)
		return "", nil
	}
	err := checkKeys(t.Context(), h)
	if err == nil || !strings.Contains(err.Error(), layout.EncryptionFile) {
		t.Errorf("got %v, want an error that names the file", err)
	}
}
