package layout

import (
	"fmt"
	"slices"
)

// APIName is the name of the API on every machine. It resolves to the
// loopback address, and the certificate of the API server contains it.
const APIName = "api.pai.internal"

// APIServerURL is the address of the API in kubeconfigs.
func APIServerURL(port int) string { return fmt.Sprintf("https://%s:%d", APIName, port) }

// Ports of components that have one instance on a machine.
const (
	KubeletHealthPort     = 10248
	KubeletPort           = 10250
	KubeProxyMetricsPort  = 10249
	KubeProxyHealthPort   = 10256
	ControllerManagerPort = 10257
	SchedulerPort         = 10259
)

// An Address says where a port is open. All addresses are IPv4.
type Address string

const (
	Loopback           Address = "loopback"
	MachineAddress     Address = "machine" // the hostip of the machine
	LoopbackAndMachine Address = "loopback and machine"
	AllAddresses       Address = "all"
)

// A Port is one that a component listens on.
type Port struct {
	Number       int
	Protocol     string // "tcp" or "udp"
	Address      Address
	Component    string // as messages name it
	Role         Role   // empty if no role listens on it
	ControlPlane bool   // only control-plane machines use it
}

// Ports lists the ports with fixed numbers. The ports of the API proxy and of
// node-exporter are configured and not in it.
func Ports() []Port {
	ports := []Port{
		{22, "tcp", AllAddresses, "ssh", "", false}, // not a component of PAI, but PAI needs it
		{ControllerManagerPort, "tcp", Loopback, "the controller manager", RoleControllerManager, true},
		{SchedulerPort, "tcp", Loopback, "the scheduler", RoleScheduler, true},
		{KubeletHealthPort, "tcp", Loopback, "kubelet", RoleKubelet, false},
		{KubeletPort, "tcp", MachineAddress, "kubelet", RoleKubelet, false},
		{KubeProxyMetricsPort, "tcp", Loopback, "kube-proxy", RoleKubeProxy, false},
		{KubeProxyHealthPort, "tcp", Loopback, "kube-proxy", RoleKubeProxy, false},
		{8472, "udp", AllAddresses, "the pod network (vxlan)", RoleNetwork, false},
	}
	for _, s := range Slots() {
		ports = append(ports,
			Port{s.EtcdClientPort, "tcp", LoopbackAndMachine, "etcd", s.Etcd, true},
			Port{s.EtcdPeerPort, "tcp", MachineAddress, "etcd", s.Etcd, true},
			Port{s.EtcdMetricsPort, "tcp", Loopback, "etcd", s.Etcd, true},
			Port{s.APIServerPort, "tcp", Loopback, "the API server", s.APIServer, true})
	}
	return ports
}

// TCPPorts are the TCP ports among Ports.
func TCPPorts() []Port {
	return slices.DeleteFunc(Ports(), func(p Port) bool { return p.Protocol != "tcp" })
}
