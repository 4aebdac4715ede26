package cluster

import (
	"slices"
	"strings"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/plan"
)

// outOfMemory keeps the kernel from ending a program of the machine before those of
// pods, whose scores are 0 to 1000.
const outOfMemory = "OOMScoreAdjust=-900"

// sandbox limits a program that only talks to others and reads
// files: it changes no kernel setting, loads no module, sees no devices and no home
// directories, writes only where its unit says, and makes only the system calls of an
// ordinary service.
var sandbox = []string{
	"NoNewPrivileges=yes",
	"CapabilityBoundingSet=",
	"LockPersonality=yes",
	"MemoryDenyWriteExecute=yes",
	"PrivateDevices=yes",
	"PrivateTmp=yes",
	"ProtectClock=yes",
	"ProtectControlGroups=yes",
	"ProtectHome=yes",
	"ProtectHostname=yes",
	"ProtectKernelLogs=yes",
	"ProtectKernelModules=yes",
	"ProtectKernelTunables=yes",
	"ProtectSystem=strict",
	"RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK",
	"RestrictNamespaces=yes",
	"RestrictRealtime=yes",
	"RestrictSUIDSGID=yes",
	"SystemCallArchitectures=native",
	"SystemCallFilter=@system-service",
	"SystemCallErrorNumber=EPERM",
	"UMask=0077",
}

// hardened is the unit with as few rights as its program needs. The kubelet, the
// container runtime, and the programs that set up the network of pods need the
// machine itself.
func (o unitOptions) hardened() unitOptions {
	more := rightsOf[o.role]
	o.service = slices.Concat(o.service, more)
	return o
}

// driver limits a program that uses the driver of a device. It sees the files of the
// machine as the kubelet and the container runtime see them, and can have the driver load
// a module.
var driver = []string{
	"NoNewPrivileges=yes",
	"LockPersonality=yes",
	"ProtectClock=yes",
	"ProtectHostname=yes",
	"RestrictAddressFamilies=AF_UNIX AF_NETLINK",
	"RestrictNamespaces=yes",
	"RestrictRealtime=yes",
	"RestrictSUIDSGID=yes",
	"SystemCallArchitectures=native",
	"MemoryMax=512M",
	"UMask=0022",
}

// auditLogs makes layout.AuditDir, which only root can read.
var auditLogs = []string{"LogsDirectory=" + strings.TrimPrefix(layout.AuditDir, "/var/log/"), "LogsDirectoryMode=0700"}

// etcdData makes layout.EtcdDir before the first start of etcd. systemd also starts etcd
// only once the disk of this directory is mounted, as with RequiresMountsFor.
var etcdData = []string{"StateDirectory=" + strings.TrimPrefix(layout.EtcdDir, "/var/lib/"), "StateDirectoryMode=0700"}

var rightsOf = map[plan.Role][]string{
	// The only program of PAI that strangers reach runs as a user without files.
	plan.RoleAPIProxy: slices.Concat([]string{"User=nobody"}, sandbox),
	// These read keys that only root reads.
	plan.RoleControllerManager: slices.Concat(sandbox, []string{outOfMemory}),
	plan.RoleScheduler:         slices.Concat(sandbox, []string{outOfMemory}),
	plan.RoleAPIServerA:        slices.Concat(sandbox, auditLogs),
	plan.RoleAPIServerB:        slices.Concat(sandbox, auditLogs),
	plan.RoleEtcdA:             slices.Concat(sandbox, etcdData),
	plan.RoleEtcdB:             slices.Concat(sandbox, etcdData),
	plan.RoleKubeProxy:         {outOfMemory},
	plan.RoleNetwork:           {outOfMemory},
	plan.RoleGPU:               slices.Concat(driver, []string{outOfMemory}),
}
