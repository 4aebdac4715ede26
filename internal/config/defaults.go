package config

import "net/netip"

// The values of keys that a configuration omits.
const (
	DefaultSSHPort        = 22
	DefaultUser           = "root"
	DefaultServiceRange   = "10.96.0.0/16"
	DefaultPodRange       = "10.244.0.0/16"
	DefaultAPIPort        = 6443
	DefaultAPIAddress     = "100.127.255.1"
	DefaultNodePortRange  = "9000-9999"
	DefaultRestServerPort = 9186
	DefaultPortalPort     = 9286
	DefaultPrometheusPort = 9091
	DefaultScrapeInterval = 30
	DefaultNodeExporter   = 9100
	DefaultVirtualCluster = "default"
	DefaultHistoryLimit   = 50
	DefaultEndedJobsLimit = 1000
	DefaultEndedJobsDays  = 30
	DefaultTaskNetwork    = "0.0.0.0/0"
	DefaultJobList        = "own"
	DefaultJobHistory     = "sqlite"
	DefaultJobHistoryMax  = 200000
	DefaultJobHistoryDays = 3650
	DefaultKeptBackups    = 14
	DefaultBackupRegion   = "us-east-1"
	DefaultMailPort       = 587
)

// setDefaults fills in what the files omit.
func (c *Config) setDefaults() {
	setDefault(&c.Layout.SchemaVersion, Schema)
	for i := range c.Layout.MachineList {
		m := &c.Layout.MachineList[i]
		setDefault(&m.SSHPort, DefaultSSHPort)
		setDefault(&m.Username, DefaultUser)
	}
	k := &c.Kubernetes
	setDefault(&k.ServiceClusterIPRange, DefaultServiceRange)
	setDefault(&k.PodClusterIPRange, DefaultPodRange)
	setDefault(&k.ClusterDNS, clusterDNS(k.ServiceClusterIPRange))
	setDefault(&k.APIServersPort, DefaultAPIPort)
	setDefault(&k.APIAddress, DefaultAPIAddress)
	setDefault(&k.ServiceNodePortRange, DefaultNodePortRange)
	if k.TaskNetworks == nil {
		k.TaskNetworks = []string{DefaultTaskNetwork}
	}
	if k.Backup != nil {
		setDefault(&k.Backup.Keep, DefaultKeptBackups)
		if k.Backup.S3 != nil {
			setDefault(&k.Backup.S3.Region, DefaultBackupRegion)
		}
	}
	s := &c.Services
	setDefault(&s.Cluster.Common.HistoryLimit, DefaultHistoryLimit)
	setDefault(&s.RestServer.ServerPort, DefaultRestServerPort)
	setDefault(&s.RestServer.EndedJobsLimit, DefaultEndedJobsLimit)
	setDefault(&s.RestServer.EndedJobsDays, DefaultEndedJobsDays)
	setDefault(&s.RestServer.JobList, DefaultJobList)
	setDefault(&s.RestServer.HistoryDatabase, DefaultJobHistory)
	setDefault(&s.RestServer.HistoryLimit, DefaultJobHistoryMax)
	setDefault(&s.RestServer.HistoryDays, DefaultJobHistoryDays)
	setDefault(&s.Prometheus.Port, DefaultPrometheusPort)
	setDefault(&s.Prometheus.ScrapeInterval, DefaultScrapeInterval)
	setDefault(&s.NodeExporter.Port, DefaultNodeExporter)
	setDefault(&s.Webportal.ServerPort, c.portalPort())
	s.AlertManager.setDefaults()
	if len(s.VirtualClusters) == 0 {
		s.VirtualClusters = map[string]VirtualCluster{DefaultVirtualCluster: {}}
	}
}

// portalPort is the port of the portal without a key. A configuration that is older than
// the portal can use its usual port for something else, and stays valid: then it is the
// last free port of the range.
func (c *Config) portalPort() int {
	low, high, ok := parsePortRange(c.Kubernetes.ServiceNodePortRange)
	if !ok {
		return DefaultPortalPort
	}
	taken := takenPorts()
	for _, port := range []int{c.Kubernetes.APIServersPort, c.Services.RestServer.ServerPort, c.Services.Prometheus.Port, c.Services.NodeExporter.Port} {
		taken[port] = "another key"
	}
	free := func(port int) bool { return port >= low && port <= high && taken[port] == "" }
	port := DefaultPortalPort
	for next := high; !free(port) && next >= low; next-- {
		port = next
	}
	return port
}

func setDefault[T comparable](value *T, to T) {
	var zero T
	if *value == zero {
		*value = to
	}
}

// clusterDNS is the tenth address of the service range, as in kubeadm.
func clusterDNS(serviceRange string) string {
	p, err := netip.ParsePrefix(serviceRange)
	if err != nil {
		return ""
	}
	a := p.Masked().Addr()
	for range 10 {
		a = a.Next()
	}
	return a.String()
}
