package cluster

import (
	"context"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/machine"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/test/inspecttest"
)

// Power loss can leave files of kubeadm empty, which it does not replace. They are made
// again, except for an authority that something may need.
func TestEmptyCertificatesAreMadeAgain(t *testing.T) {
	t.Parallel()
	pki := func(names ...string) []string {
		for i, name := range names {
			names[i] = layout.PKIDir + "/" + name
		}
		return names
	}
	ofCA := pki("ca.crt", "ca.key")
	for _, name := range leaves {
		ofCA = append(ofCA, pki(name+".crt", name+".key")...)
	}
	ofCA = append(ofCA, pkiKubeconfigs...)
	for _, c := range []struct {
		name    string
		empty   []string
		missing []string
		served  bool // an etcd has started
		removed []string
	}{
		{name: "all there"},
		{name: "a certificate", empty: pki("etcd/peer.crt"), served: true, removed: pki("etcd/peer.crt", "etcd/peer.key")},
		{name: "a key", empty: pki("apiserver.key"), removed: pki("apiserver.crt", "apiserver.key")},
		{name: "killed after the key", missing: pki("front-proxy-client.crt"), removed: pki("front-proxy-client.crt", "front-proxy-client.key")},
		{name: "a lost key", missing: pki("apiserver.key"), removed: pki("apiserver.crt", "apiserver.key")},
		{name: "a kubeconfig", empty: []string{layout.AdminConf}, removed: []string{layout.AdminConf}},
		{name: "an authority before the first etcd", empty: pki("ca.crt"), removed: ofCA},
		{name: "an authority in use", empty: pki("ca.crt"), served: true},
		{name: "an authority whose key is elsewhere", missing: pki("ca.key")},
		{name: "the key of tokens", empty: pki("sa.pub"), removed: pki("sa.key", "sa.pub")},
	} {
		h := inspecttest.NewHost(t, "pai-1")
		shell(t, h)
		files := pkiFiles()
		for _, f := range files {
			h.Write(f, "x")
		}
		for _, f := range c.empty {
			h.Write(f, "")
		}
		for _, f := range c.missing {
			if err := os.Remove(h.At(f)); err != nil {
				t.Fatal(err)
			}
		}
		if c.served {
			h.Write(layout.SlotB.EtcdEnv(), "")
		}
		if _, err := sh(t.Context(), h, "%s", removeEmpty()); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		removed := map[string]bool{}
		for _, f := range files {
			if _, err := os.Stat(h.At(f)); err != nil {
				removed[f] = true
			}
		}
		want := map[string]bool{}
		for _, f := range slices.Concat(c.removed, c.missing) {
			want[f] = true
		}
		if !maps.Equal(removed, want) {
			t.Errorf("%s: got %v removed, want %v", c.name, slices.Sorted(maps.Keys(removed)), slices.Sorted(maps.Keys(want)))
		}
	}
}

// What kubeadm writes is on the disk before the step ends, and before etcd has data that
// need it.
func TestCertificatesAreSynced(t *testing.T) {
	t.Parallel()
	c := scripted(t)
	h := c.hosts["pai-1"]
	run := h.Script
	var last string
	h.Script = func(ctx context.Context, cmd machine.Command) (string, error) {
		last = cmd.Script
		return run(ctx, cmd)
	}
	for _, f := range pkiFiles() {
		h.Write(f, "")
	}
	h.Write(layout.PKIMark, "")
	for _, r := range []plan.Role{plan.RoleControllerManager, plan.RoleScheduler} {
		h.Programs["systemctl show --timestamp=unix --property=ActiveState,ExecMainStartTimestamp "+layout.Unit(r)] = "ActiveState=inactive\n"
	}
	kubeadm := c.deps.Kubeadm
	c.deps.Kubeadm = func(ctx context.Context, config []byte, script string) (string, error) {
		if strings.Contains(script, "init phase certs all") {
			ca, now := authorityOn(t, h.Write), time.Now()
			for _, file := range []string{layout.ControllerManagerConf, layout.SchedulerConf} {
				h.Write(file, kubeconfigOf(t, ca, now.Add(-time.Minute), now.Add(time.Hour)))
			}
			return "", nil
		}
		return kubeadm(ctx, config, script)
	}
	if err := (&cluster{Deps: c.deps}).pki(t.Context(), h, c.deps.Config.ControlPlane(),
		plan.Step{Kind: plan.KindPKI, Target: "pai-1", To: pai.AnyVersion(comparedVersion)}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"sync -f " + layout.KubernetesDir, "sync -f " + layout.ConfigDir} {
		if at := strings.Index(last, want); at < strings.Index(last, "install -m") {
			t.Errorf("got as the last script\n%s\nwant %s at its end", last, want)
		}
	}
}
