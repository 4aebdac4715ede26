package config

// servicesKeys is services-configuration.yaml. Files of schema 1 may spell some
// of it as earlier PAI did; see spellings.go.
func servicesKeys() key {
	keys := []key{
		schemaVersion("1", "2"),
		clusterKeys(),
		{name: "rest-server", shape: object, keys: append([]key{
			{name: "server-port", shape: number, format: ports(), def: "9186", meaning: "of PAI's own API; in the node-port range", jobs: "nothing; the API moves"},
		}, removedKeys(
			"jwt-secret", "default-pai-admin-username", "default-pai-admin-password", "github-owner", "github-repository", "github-path",
		)...)},
		{name: "prometheus", shape: object, keys: []key{
			{name: "port", shape: number, format: ports(), def: "9091", meaning: "in the node-port range", jobs: jobsNone},
			{name: "scrape_interval", shape: number, format: between(1, 86400), def: "30", unit: "s", meaning: "how often figures are collected", jobs: jobsNone},
		}},
		{name: "node-exporter", shape: object, keys: []key{
			{name: "port", shape: number, format: ports(), def: "9100", meaning: "on every machine's own address", jobs: jobsNone},
		}},
		virtualClusterKeys(),
		hadoopKeys(),
	}
	return key{shape: object, keys: append(keys, removedServices()...)}
}

func clusterKeys() key {
	trusted := key{shape: text, format: bundleKeys()}
	return key{name: "cluster", shape: object, required: true, keys: []key{
		{name: "common", shape: object, required: true, keys: append([]key{
			{name: "cluster-id", shape: text, required: true, format: labels(maxClusterID), meaning: "commands that change or destroy a cluster ask for it", jobs: jobsNoChange},
			{
				name: "release", shape: text, required: true, format: releaseNames(),
				meaning: "whose services run; `upgrade apply` and `config upgrade` change it", jobs: "nothing; the services are replaced beside them",
			},
			{
				name: "trusted-bundle-keys", shape: list, required: true, item: &trusted,
				meaning: "bundles signed by others are refused", jobs: jobsNone,
			},
		}, removedKeys("data-path", "qos-switch", "az-rdma")...)},
		{name: "docker-registry", shape: object, effect: ignored, keys: []key{
			{name: "password", shape: anything, effect: ignored, secret: true},
		}},
	}}
}

func virtualClusterKeys() key {
	const smaller = "running ones go on; a smaller share only keeps new ones waiting"
	share := key{shape: object, format: labels(maxVirtualClusterName), keys: []key{
		{name: "cpu", shape: number, format: between(0, 1<<24), unit: "cores", def: "no limit", meaning: "CPU; 0 is no limit", jobs: smaller},
		{name: "memory-mb", shape: number, format: between(0, 1<<40), unit: "MiB", def: "no limit", meaning: "memory; 0 is no limit", jobs: smaller},
		{name: "gpu", shape: number, format: between(0, 1<<20), def: "no limit", meaning: "GPUs; 0 is no limit", jobs: smaller},
	}}
	return key{name: "virtual-clusters", shape: table, item: &share}
}

// hadoopKeys are those of Hadoop that still mean something: its queues are
// today's virtual clusters.
func hadoopKeys() key {
	queue := key{shape: object, format: labels(maxVirtualClusterName), keys: []key{
		{name: "capacity", shape: number, format: between(0, 100), unit: "%", def: "no limit", meaning: "share of all machines; read where `virtual-clusters` is left out", jobs: jobsNone},
		{name: "description", shape: text, effect: informational, meaning: "what it is for", jobs: jobsNone},
	}}
	return key{name: "hadoop-resource-manager", shape: object, keys: append([]key{
		{name: "virtualClusters", shape: table, item: &queue},
		{name: "yarn_exporter_port", shape: number, format: ports(), effect: ignored},
	}, removedKeys("yarn_log_retain_seconds")...)}
}

// removedServices are sections of services that PAI does not have. Their ports
// are checked all the same, so that they still fit when the service is back.
func removedServices() []key {
	withPort := func(name, port string, more ...key) key {
		return key{name: name, shape: object, effect: ignored, keys: append([]key{{name: port, shape: number, format: ports(), effect: ignored}}, more...)}
	}
	return append([]key{
		withPort("webportal", "server-port"),
		withPort("grafana", "port"),
		withPort("pylon", "port"),
		withPort("yarn-frameworklauncher", "frameworklauncher-port"),
		withPort("alert-manager", "port", key{name: "smtp_auth_password", shape: anything, effect: ignored, secret: true}),
	}, removedKeys("hadoop-data-node", "drivers", "cleaner")...)
}
