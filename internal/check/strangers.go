package check

import (
	"context"
	"fmt"
	"path"
	"strings"

	"pai.dev/pai/internal/layout"
)

// strangerChecks find what programs other than those of PAI left or run on a machine.
func strangerChecks() []Check {
	return []Check{
		{"machine-runtime-other", "no other containerd uses the directories of PAI", Boot | Upgrade | alsoOnResume, onMachines(otherRuntimes)},
		{"machine-kubelet-other", "no other kubelet starts", Boot | Upgrade | alsoOnResume, onMachines(otherKubelets)},
		{"machine-cni", "the runtime reads the network of PAI first", Boot | Upgrade | alsoOnResume, onMachines(cniFiles)},
		{"machine-pki", "no certificates of another Kubernetes", Boot | alsoOnResume, onMachines(otherPKI)},
		{"machine-ranges", "no other network has addresses of pods or services", Boot | alsoOnResume, ranges},
		{"machine-forward", "packets of pods are forwarded", Boot | Upgrade | alsoOnResume, forwarding},
		{"machine-exec", "programs can run from the directories of PAI", Boot | Upgrade | alsoOnResume, onMachines(execution)},
	}
}

var errNoStrangers = fmt.Errorf("the machine did not report what other programs left")

// otherRuntimes: two containerds with one directory wait for each other. One that
// only starts at a boot can win then.
func otherRuntimes(m observedMachine) Result {
	if m.Strangers == nil {
		return unknown(m.Hostname, errNoStrangers)
	}
	var running, enabled []string
	for _, r := range m.Strangers.Runtimes {
		if r.Running {
			running = append(running, fmt.Sprintf("%s runs and uses %s or %s", r.Program, layout.ContainerdDir, layout.ContainerdSocket))
		} else {
			enabled = append(enabled, fmt.Sprintf("%s starts a containerd with these directories at the next boot", r.Program))
		}
	}
	const fix = "stop it and keep it from starting (for Docker, run: systemctl disable --now docker.socket docker.service containerd.service), or give it another root and state in /etc/containerd/config.toml"
	if !m.hasKubelet() {
		running, enabled = append(running, enabled...), nil
	}
	return summary(m.Hostname, fix, running, enabled, "no other containerd uses the directories of PAI")
}

// otherKubelets: a kubelet that runs has the port of that of PAI, and machine-ports names
// it. One that only starts at a boot can win then.
func otherKubelets(m observedMachine) Result {
	if m.Strangers == nil {
		return unknown(m.Hostname, errNoStrangers)
	}
	var enabled []string
	for _, unit := range m.Strangers.Kubelets {
		enabled = append(enabled, unit+" starts another kubelet at the next boot, which takes the port of that of PAI and ends its containers")
	}
	fix := "keep it from starting; on the machine, run: systemctl disable --now " + strings.Join(m.Strangers.Kubelets, " ")
	var problems, warnings []string
	if m.hasKubelet() {
		warnings = enabled
	} else {
		problems = enabled
	}
	return summary(m.Hostname, fix, problems, warnings, "no other kubelet starts")
}

func cniFiles(m observedMachine) Result {
	if m.Strangers == nil {
		return unknown(m.Hostname, errNoStrangers)
	}
	var problems []string
	if files := m.Strangers.CNI; len(files) > 0 {
		problems = append(problems, fmt.Sprintf("the runtime would give pods the network of %s, because it sorts before %s", strings.Join(files, ", "), path.Base(layout.CNIConfig)))
	}
	return summary(m.Hostname, "remove the files of the previous network, or move them to another directory", problems, nil, "no other network comes first")
}

// otherPKI: others may have the keys of that authority, and it may end soon. Only the
// control-plane machine makes certificates there; its step refuses as well, but only after
// the machine was prepared.
func otherPKI(m observedMachine) Result {
	if m.Strangers == nil {
		return unknown(m.Hostname, errNoStrangers)
	}
	var problems []string
	if len(m.Strangers.PKI) > 0 && m.IsControlPlane() {
		problems = append(problems, "the machine has certificates that PAI did not make: "+strings.Join(m.Strangers.PKI, ", "))
	}
	return summary(m.Hostname, fmt.Sprintf("if nothing needs them any more, on the machine, run: mv %[1]s %[1]s.old", layout.KubernetesDir),
		problems, nil, "no certificates of another Kubernetes")
}

func forwarding(ctx context.Context, w *world) ([]Result, error) {
	pods := w.Config.Kubernetes.PodClusterIPRange
	return w.eachMachine(ctx, func(m observedMachine) Result { return forwardingOf(m, pods) })
}

// forwardingOf: rules that accept the packets of pods in one table do not override
// a chain in another table that drops them. A table that names the network of pods
// was made for them.
func forwardingOf(m observedMachine, pods string) Result {
	if m.Strangers == nil {
		return unknown(m.Hostname, errNoStrangers)
	}
	var problems, warnings []string
	fix := "accept packets of pods permanently, for example: iptables -P FORWARD ACCEPT"
	for _, c := range m.Strangers.Forward {
		owner, advice := forwardOwner(c.Rules, pods)
		text := fmt.Sprintf("chain %s of nftables table %s drops forwarded packets%s", c.Chain, c.Table, owner)
		if strings.Contains(c.Rules, pods) || strings.Contains(c.Rules, `"pai0"`) {
			warnings = append(warnings, text+"; it has rules for pods")
			continue
		}
		problems, fix = append(problems, text+", so pods reach no other machine and no name server"), advice
	}
	if len(problems) == 0 && len(warnings) > 0 {
		fix = "no action needed if jobs reach each other"
	}
	return summary(m.Hostname, fix, problems, warnings, "no chain drops the packets of pods")
}

// forwardOwner is who made a chain, and how its owner accepts packets of pods.
func forwardOwner(rules, pods string) (owner, advice string) {
	switch {
	case strings.Contains(rules, "DOCKER"):
		return " (set by Docker)", fmt.Sprintf(`set "ip-forward-no-drop": true in /etc/docker/daemon.json and reboot the machine, or accept packets of pods in the chain DOCKER-USER (-s %[1]s and -d %[1]s -j ACCEPT)`, pods)
	case strings.Contains(rules, "firewalld") || strings.Contains(rules, "filter_FWD_"):
		return " (set by firewalld)", fmt.Sprintf("trust the network of pods; on the machine, run: firewall-cmd --permanent --zone=trusted --add-source=%s && firewall-cmd --reload", pods)
	case strings.Contains(rules, "ufw-"):
		return " (set by ufw)", fmt.Sprintf("allow the network of pods; on the machine, run: ufw route allow from %[1]s && ufw route allow to %[1]s", pods)
	default:
		return "", fmt.Sprintf("accept packets of pods permanently: from and to %s; or, on the machine, run: iptables -P FORWARD ACCEPT", pods)
	}
}

func execution(m observedMachine) Result {
	if m.Strangers == nil {
		return unknown(m.Hostname, errNoStrangers)
	}
	var problems []string
	for _, dir := range m.Strangers.NoExec {
		problems = append(problems, "the file system of "+dir+" is mounted with noexec, so no program runs from there")
	}
	return summary(m.Hostname, "mount it with exec in /etc/fstab, or give "+layout.ProgramsDir+" a file system with exec", problems, nil, "programs can run")
}
