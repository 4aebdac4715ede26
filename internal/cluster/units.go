package cluster

import (
	"fmt"
	"strings"

	"pai.dev/pai/internal/inspect/helper"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/plan"
)

// unitOptions are the differences between the units of roles.
type unitOptions struct {
	role         plan.Role
	what         string
	after        []plan.Role
	service      []string // further lines of [Service]
	controlPlane bool     // only machines with the control plane have it
	optional     bool     // only the step of the role writes it
}

// unitTable lists the units of the roles. They name the link of the role and no
// version, so a hop that changes none of their text needs no daemon-reload.
//
// Scripts enable and disable units with SYSTEMD_OFFLINE=1, which only changes links on
// disk. Without it, also with --no-reload, systemd 257 (not 252) says of every unit of
// the machine that it needs a daemon-reload, until one happens. PAI reads that
// (NeedDaemonReload) as a unit that does not run as its file says.
var unitTable = []unitOptions{
	{role: plan.RoleRuntime, what: "container runtime", service: []string{
		"Type=notify",
		"ExecReload=/bin/kill -HUP $MAINPID",
		"Delegate=yes",
		// Containers and their shims keep running if containerd is replaced.
		"KillMode=process",
		"OOMScoreAdjust=-999",
		"LimitNPROC=infinity",
		"LimitCORE=infinity",
		"LimitNOFILE=1048576",
		"TasksMax=infinity",
	}},
	{role: plan.RoleEtcdA, what: "etcd, slot a", controlPlane: true, service: etcdService},
	{role: plan.RoleEtcdB, what: "etcd, slot b", controlPlane: true, service: etcdService},
	{role: plan.RoleAPIServerA, what: "Kubernetes API server, slot a", controlPlane: true, service: apiServerService},
	{role: plan.RoleAPIServerB, what: "Kubernetes API server, slot b", controlPlane: true, service: apiServerService},
	{role: plan.RoleControllerManager, what: "Kubernetes controller manager", controlPlane: true, service: []string{"Type=exec", "TimeoutStopSec=5s"}},
	{role: plan.RoleScheduler, what: "Kubernetes scheduler", controlPlane: true, service: []string{"Type=exec", "TimeoutStopSec=5s"}},
	{role: plan.RoleAPIProxy, what: "the API's address on this machine", service: []string{
		"Type=exec", "ExecReload=/bin/kill -HUP $MAINPID", "TimeoutStopSec=2s", "LimitNOFILE=1048576", "OOMScoreAdjust=-999",
	}},
	{role: plan.RoleKubelet, what: "kubelet", after: []plan.Role{plan.RoleRuntime}, service: []string{
		"Type=exec", "KillMode=process", "TimeoutStopSec=5s", "OOMScoreAdjust=-999", "LimitNOFILE=1048576",
	}},
	{role: plan.RoleKubeProxy, what: "services' addresses on this machine", service: []string{"Type=exec", "TimeoutStopSec=5s"}},
	{role: plan.RoleNetwork, what: "pods' network between machines", service: []string{"Type=exec", "TimeoutStopSec=5s"}},
	{role: plan.RoleGPU, what: "GPUs of this machine", optional: true, service: []string{"Type=exec", "TimeoutStopSec=5s"}},
}

var (
	// etcd is durable at every moment. After SIGKILL it serves again after 0.6 s;
	// after SIGTERM it waits seconds for its clients.
	etcdService = []string{"Type=exec", "KillSignal=SIGKILL", "TimeoutStopSec=5s", "OOMScoreAdjust=-999", "LimitNOFILE=1048576"}
	// Open watches would delay the end of an API server by a minute.
	apiServerService = []string{"Type=exec", "TimeoutStopSec=1s", "OOMScoreAdjust=-999", "LimitNOFILE=1048576"}
)

func unitOf(r plan.Role) (unitOptions, error) {
	for _, o := range unitTable {
		if o.role == r {
			return o, nil
		}
	}
	return unitOptions{}, fmt.Errorf("role %s has no unit", r)
}

func unitFile(o unitOptions) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Written by PAI.\n[Unit]\nDescription=PAI: %s\n", o.what)
	after := []string{"network-online.target", layout.PrepareUnit}
	for _, r := range o.after {
		after = append(after, layout.Unit(r))
	}
	fmt.Fprintf(&b, "Wants=%s\nAfter=%s\n", strings.Join(after, " "), strings.Join(after, " "))
	b.WriteString("StartLimitIntervalSec=0\n\n[Service]\n")
	fmt.Fprintf(&b, "ExecStart=%s/run/%s\n", layout.RoleLink(o.role), o.role)
	for _, line := range o.service {
		b.WriteString(line + "\n")
	}
	b.WriteString("Restart=always\nRestartSec=500ms\n\n[Install]\nWantedBy=multi-user.target\n")
	return b.String()
}

// prepareUnitFile orders the prepare script after the stage of cloud-init that writes
// /etc/hosts. Its later stages start after network-online.target, and would make a circle.
const prepareUnitFile = `# Written by PAI.
[Unit]
Description=PAI: kernel settings, host names and folders of this machine
# cloud-init replaces /etc/hosts at every boot (manage_etc_hosts). These units need not exist.
After=local-fs.target cloud-init-local.service cloud-init.service cloud-init-network.service
Before=network-online.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=` + layout.PrepareScript + `

[Install]
WantedBy=multi-user.target
`

// shutdownUnitFile ends the containers at a shutdown. systemd does not know them,
// because they outlive containerd, and would wait 90 s.
const shutdownUnitFile = `# Written by PAI.
[Unit]
Description=PAI: end of containers when this machine shuts down
After=` + layout.UnitPrefix + string(layout.RoleRuntime) + `.service
Before=` + layout.UnitPrefix + string(layout.RoleKubelet) + `.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
ExecStop=` + layout.ShutdownScript + `
TimeoutStopSec=45s

[Install]
WantedBy=multi-user.target
`

// certificatesUnitFile renews the certificates of the machine, restores the lines of PAI in
// /etc/hosts, and approves the certificates of kubelets on the control-plane machine. Nothing waits for it, and a restart of it
// touches nothing else. It names the helper of this paictl, so that another helper is
// another unit, which the plan shows.
func certificatesUnitFile() string {
	return `# Written by PAI.
[Unit]
Description=PAI: renewal of certificates, and the names in /etc/hosts
Wants=network-online.target ` + layout.PrepareUnit + `
After=network-online.target ` + layout.PrepareUnit + `
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart=` + layout.Helper(helper.Digest()) + ` certificates
NoNewPrivileges=yes
PrivateTmp=yes
ProtectHome=yes
MemoryMax=256M
OOMScoreAdjust=-900
TimeoutStopSec=5s
Restart=always
RestartSec=5s

[Install]
WantedBy=multi-user.target
`
}
