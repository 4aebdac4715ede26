package config

// servicesKeys is services-configuration.yaml. Files of schema 1 can use the key
// names of the historical PAI; see renamedkeys.go.
func servicesKeys() key {
	keys := []key{
		schemaVersion("1", "2"),
		clusterKeys(),
		{name: "rest-server", shape: object, keys: append([]key{
			{name: "server-port", shape: number, format: ports(), def: "9186", meaning: "port of the PAI REST API; in the node-port range", jobs: "none; clients use the new port"},
			{name: "ended-jobs-limit", shape: number, format: between(10, 10000), def: "1000", meaning: "how many ended jobs of a virtual cluster stay in the cluster; a `paictl` before v0.11 refuses the key", jobs: "none; ended jobs are deleted"},
			{name: "ended-jobs-days", shape: number, format: between(1, 3650), def: "30", unit: "days", meaning: "how long an ended job stays in the cluster; a `paictl` before v0.11 refuses the key", jobs: "none; ended jobs are deleted"},
			{name: "job-list", shape: text, format: oneOf("own", "all"), def: "`own`", meaning: "whose jobs users see in the list of jobs: their own, or all; configuration and output stay with the owner and administrators; a `paictl` before v0.11 refuses the key", jobs: jobsNone},
			{name: "history-database", shape: text, format: oneOf("sqlite", "postgresql", "none"), def: "`sqlite`", meaning: "where jobs are kept after they left the cluster: a file on the control-plane machine, to which it pins the REST server, a PostgreSQL server of yours, or nowhere; see [the history of jobs](jobs.md#the-history-of-jobs); a `paictl` before v0.11 refuses the key", jobs: jobsNone},
			{name: "history-limit", shape: number, format: between(100, 1000000), def: "200000", meaning: "how many jobs the history keeps; the oldest that left the cluster are deleted first; a `paictl` before v0.11 refuses the key", jobs: "none; ended jobs are deleted"},
			{name: "history-days", shape: number, format: between(1, 3650), def: "3650", unit: "days", meaning: "how long the history keeps a job after its end; a `paictl` before v0.11 refuses the key", jobs: "none; ended jobs are deleted"},
		}, removedKeys(
			"jwt-secret", "default-pai-admin-username", "default-pai-admin-password", "github-owner", "github-repository", "github-path",
		)...)},
		{name: "webportal", shape: object, keys: []key{
			{name: "server-port", shape: number, format: ports(), def: "9286, or a free port of the node-port range if that is taken", meaning: "port of the web portal; in the node-port range", jobs: "none; browsers use the new port"},
		}},
		{name: "prometheus", shape: object, keys: []key{
			{name: "port", shape: number, format: ports(), def: "9091", meaning: "port of Prometheus; in the node-port range", jobs: jobsNone},
			{name: "scrape_interval", shape: number, format: between(1, 86400), def: "30", unit: "s", meaning: "how often metrics are collected", jobs: jobsNone},
		}},
		{name: "node-exporter", shape: object, keys: []key{
			{name: "port", shape: number, format: ports(), def: "9100", meaning: "port of node_exporter on every machine", jobs: jobsNone},
		}},
		alertManagerKeys(),
		virtualClusterKeys(),
		storageKeys(),
		hadoopKeys(),
	}
	return key{shape: object, keys: append(keys, removedServices()...)}
}

func clusterKeys() key {
	trusted := key{shape: text, format: bundleKeys()}
	return key{name: "cluster", shape: object, required: true, keys: []key{
		{name: "common", shape: object, required: true, keys: append([]key{
			{name: "cluster-id", shape: text, required: true, format: labels(maxClusterID), meaning: "ID that commands ask for before they change or destroy a cluster", jobs: jobsNoChange},
			{
				name: "release", shape: text, required: true, format: releaseNames(),
				meaning: "release of the services; `upgrade apply` and `config upgrade` change it", jobs: "none; services are replaced while jobs run",
			},
			{
				name: "trusted-bundle-keys", shape: list, required: true, item: &trusted,
				meaning: "bundles that are signed with another key are refused", jobs: jobsNone,
			},
			{
				name: "history-limit", shape: number, format: between(10, 10000), def: "50",
				meaning: "how many operations, and how many revisions of the configuration, stay recorded; a `paictl` before v0.11 refuses the key", jobs: jobsNone,
			},
		}, removedKeys("data-path", "qos-switch", "az-rdma")...)},
		{name: "docker-registry", shape: object, effect: ignored, keys: []key{
			{name: "password", shape: anything, effect: ignored, secret: true},
		}},
	}}
}

func virtualClusterKeys() key {
	const (
		smaller = "none; a smaller share only delays new jobs"
		onlyNew = "none; new jobs have it"
	)
	share := key{shape: object, format: labels(maxVirtualClusterName), keys: []key{
		{name: "cpu", shape: number, format: between(0, 1<<24), unit: "cores", def: "no limit", meaning: "CPU cores; 0 is no limit", jobs: smaller},
		{name: "memory-mb", shape: number, format: between(0, 1<<40), unit: "MiB", def: "no limit", meaning: "memory; 0 is no limit", jobs: smaller},
		{name: "gpu", shape: number, format: between(0, 1<<20), def: "no limit", meaning: "GPUs; 0 is no limit", jobs: smaller},
		{
			name: "capabilities", shape: list, item: &key{shape: text, format: capabilities()}, def: "none",
			meaning: "Linux capabilities that its tasks have in addition to those of every task; a `paictl` before v0.11 refuses the key", jobs: onlyNew,
		},
		{
			name: "task-disk-mb", shape: number, format: between(0, 1<<30), unit: "MiB", def: "10240",
			meaning: "disk space that one task can fill before it is ended; 0 is the default; a `paictl` before v0.11 refuses the key", jobs: onlyNew,
		},
	}}
	share.keys = append(share.keys, borrowingKeys()...)
	return key{name: "virtual-clusters", shape: table, item: &share}
}

// hadoopKeys are the keys of Hadoop that still have an effect: its queues become
// virtual clusters.
func hadoopKeys() key {
	queue := key{shape: object, format: labels(maxVirtualClusterName), keys: []key{
		{name: "capacity", shape: number, format: between(0, 100), unit: "%", def: "no limit", meaning: "share of all machines; used if `virtual-clusters` is omitted", jobs: jobsNone},
		{name: "description", shape: text, effect: informational, meaning: "purpose of the queue", jobs: jobsNone},
	}}
	return key{name: "hadoop-resource-manager", shape: object, keys: append([]key{
		{name: "virtualClusters", shape: table, item: &queue},
		{name: "yarn_exporter_port", shape: number, format: ports(), effect: ignored},
	}, removedKeys("yarn_log_retain_seconds")...)}
}

// removedServices are sections of services that PAI no longer has. Their ports
// are still checked, so that they are valid if a service returns.
func removedServices() []key {
	withPort := func(name, port string) key {
		return key{name: name, shape: object, effect: ignored, keys: []key{{name: port, shape: number, format: ports(), effect: ignored}}}
	}
	return append([]key{
		withPort("grafana", "port"),
		withPort("pylon", "port"),
		withPort("yarn-frameworklauncher", "frameworklauncher-port"),
	}, removedKeys("hadoop-data-node", "drivers", "cleaner")...)
}
