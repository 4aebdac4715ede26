package cluster

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
	"pai.dev/pai/test/configtest"
)

// New configuration works with the Kubernetes that runs: what a version of it
// is started with on each machine is the same before and after an upgrade of
// the configuration.
func TestNewConfigurationWorksWithOldKubernetes(t *testing.T) {
	t.Parallel()
	root := configtest.Root(t)
	rapid.Check(t, func(t *rapid.T) {
		before, after := configtest.Older().Draw(t, "configuration").
			BeforeAndAfter(t, root, pai.Pair{Services: "v0.10", Kubernetes: "v0.10-pai"})
		for version, upstream := range versions {
			if a, b := startedWith(t, before, version, upstream), startedWith(t, after, version, upstream); !reflect.DeepEqual(a, b) {
				t.Fatalf("Kubernetes %s is started with\n%v\nand after the upgrade with\n%v", version, a, b)
			}
		}
	})
}

// startedWith is all that is made from a configuration without asking a machine.
func startedWith(t *rapid.T, cfg *config.Config, v pai.KubernetesVersion, upstream string) map[string]any {
	made := map[string]any{}
	data, err := kubeadmConfig(cfg, cfg.ControlPlane(), upstream)
	if err != nil {
		t.Fatal(err)
	}
	made["kubeadm"] = string(data)
	for _, m := range cfg.Layout.MachineList {
		for name, of := range map[string]func(*config.Config, config.Machine, pai.KubernetesVersion) (map[string]preparedFile, error){
			"kube-proxy": kubeProxyFiles,
			"network": func(cfg *config.Config, m config.Machine, v pai.KubernetesVersion) (map[string]preparedFile, error) {
				return networkFiles(cfg, m, v, upstream)
			},
		} {
			if made[name+" on "+m.Hostname], err = of(cfg, m, v); err != nil {
				t.Fatal(err)
			}
		}
		made["machine "+m.Hostname] = m
		if m.IsControlPlane() {
			for _, role := range []plan.Role{plan.RoleEtcdA, plan.RoleAPIServerA, plan.RoleControllerManager, plan.RoleScheduler} {
				made[string(role)] = componentScript(cfg, m, v, upstream, role, flags{"--x=y"})
			}
		}
	}
	return made
}
