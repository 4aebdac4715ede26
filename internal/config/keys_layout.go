package config

// The effect of a change on running jobs, in the words that several keys share.
const (
	jobsNone     = "none"
	jobsNoChange = "cannot be changed while the cluster runs"
	// jobsKeepNetwork: what a running task reached at its start stays.
	jobsKeepNetwork = "none; running tasks keep what they reach, and reach what is added"
)

func schemaVersion(allowed ...string) key {
	return key{
		name: "schema-version", shape: number, format: schemas(allowed...),
		meaning: "schema of the file; `paictl config upgrade` raises it", def: "recognized by the files", jobs: jobsNone,
	}
}

// layoutKeys is layout.yaml, and cluster-configuration.yaml before it.
func layoutKeys() key {
	version := schemaVersion("2")
	version.since = 2
	older := schemaVersion("1")
	older.until = 1
	sku, machine := skuKeys(), machineKeys()
	defaults := key{
		name: "default-machine-properties", shape: object, until: 1, jobs: jobsNone,
		meaning: "properties of machines in `machine-list` that do not set them",
		keys:    reachKeys(),
	}
	for i := range defaults.keys {
		defaults.keys[i].required = false
	}
	return key{shape: object, keys: []key{
		version, older,
		{name: "kubernetes", shape: object, since: 2, keys: []key{
			{name: "api-servers-url", shape: text, effect: informational, meaning: "URL of the Kubernetes API", jobs: jobsNone},
			{name: "dashboard-url", shape: text, effect: informational, meaning: "URL of the historical dashboard", jobs: jobsNone},
		}},
		defaults,
		{name: "machine-sku", shape: table, item: &sku},
		{name: "machine-list", shape: list, required: true, item: &machine},
	}}
}

func skuKeys() key {
	return key{shape: object, format: words(), keys: append([]key{
		{name: "mem", shape: number, format: between(1, 1<<20), unit: "GiB", meaning: "memory", jobs: jobsNone},
		{name: "cpu", shape: object, keys: []key{
			{name: "vcore", shape: number, format: between(1, 1<<14), unit: "cores", meaning: "CPU cores", jobs: jobsNone},
		}},
		{name: "gpu", shape: object, keys: []key{
			{name: "type", shape: text, required: true, format: words(), meaning: "GPU model", jobs: jobsNone},
			{name: "count", shape: number, required: true, format: between(1, 1024), meaning: "GPUs in each machine; `paictl check` compares", jobs: jobsNone},
		}},
		{name: "os", shape: text, effect: informational, meaning: "operating system", jobs: jobsNone},
	}, removedKeys("dataFolder")...)}
}

// reachKeys are the ssh settings of a machine.
func reachKeys() []key {
	return []key{
		{name: "sshport", shape: number, format: ports(), def: "22", meaning: "port of sshd", jobs: jobsNone},
		{name: "username", shape: text, format: users(), def: "`root`", meaning: "`root`, or a user with sudo without a password", jobs: jobsNone},
		{name: "password", shape: text, secret: true, meaning: "password of the user, if no key is named; a key is safer", jobs: jobsNone},
		{name: "keyfile-path", shape: text, format: paths(), def: "ssh-agent", meaning: "private ssh key on your host", jobs: jobsNone},
		{name: "docker-data", shape: anything, effect: ignored},
	}
}

func machineKeys() key {
	keys := []key{
		{name: "hostname", shape: text, required: true, format: labels(63), meaning: "name of the machine and of its node", jobs: "a new name is a new machine: jobs on the old one end"},
		{name: "hostip", shape: text, required: true, format: addresses(), meaning: "address at which other machines reach it", jobs: jobsNoChange},
		{name: "k8s-role", shape: text, required: true, format: oneOf(RoleControlPlane, RoleWorker), meaning: "`master` is a control-plane machine: 1, 3, or 5 machines; it runs jobs, too", jobs: "none; a worker can become a control-plane machine, and not the other way round"},
		{name: "machine-type", shape: text, format: words(), meaning: "a name in `machine-sku`, the kind that jobs choose", jobs: "none; a machine keeps its kind while jobs run on it"},
	}
	keys = append(keys, reachKeys()...)
	keys = append(keys, key{name: "nodename", shape: text, since: 2, effect: informational, meaning: "the node name in the historical PAI, its address", jobs: jobsNone})
	keys = append(keys, removedKeys("etcdid", "dashboard", "zkid", "pai-master", "pai-worker")...)
	return key{shape: object, keys: keys}
}
