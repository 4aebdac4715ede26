package config

// What a change does to running jobs, in the words that several keys share.
const (
	jobsNone     = "nothing"
	jobsNoChange = "cannot be changed while a cluster runs"
)

func schemaVersion(allowed ...string) key {
	return key{
		name: "schema-version", shape: number, format: format{name: "", check: checkSchema(allowed...), schema: map[string]any{"enum": numbers(allowed)}},
		meaning: "of the file; `paictl config upgrade` raises it", def: "recognised by the file's shape", jobs: jobsNone,
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
		meaning: "what a machine of `machine-list` has that does not say otherwise",
		keys:    reachKeys(),
	}
	for i := range defaults.keys {
		defaults.keys[i].required = false
	}
	return key{shape: object, keys: []key{
		version, older,
		{name: "kubernetes", shape: object, since: 2, keys: []key{
			{name: "api-servers-url", shape: text, effect: informational, meaning: "where the API answers", jobs: jobsNone},
			{name: "dashboard-url", shape: text, effect: informational, meaning: "where the dashboard was", jobs: jobsNone},
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
			{name: "type", shape: text, required: true, format: words(), meaning: "kind of GPU", jobs: jobsNone},
			{name: "count", shape: number, required: true, format: between(1, 1024), meaning: "GPUs of one machine", jobs: jobsNone},
		}},
		{name: "os", shape: text, effect: informational, meaning: "operating system", jobs: jobsNone},
	}, removedKeys("dataFolder")...)}
}

// reachKeys say how a machine is reached over ssh.
func reachKeys() []key {
	return []key{
		{name: "sshport", shape: number, format: ports(), def: "22", meaning: "where sshd listens", jobs: jobsNone},
		{name: "username", shape: text, format: users(), def: "`root`", meaning: "root, or one with sudo without a password", jobs: jobsNone},
		{name: "password", shape: text, secret: true, meaning: "of that user, where no key is named; better use a key", jobs: jobsNone},
		{name: "keyfile-path", shape: text, format: paths(), def: "ssh-agent", meaning: "private ssh key, on the operator's host", jobs: jobsNone},
		{name: "docker-data", shape: anything, effect: ignored},
	}
}

func machineKeys() key {
	keys := []key{
		{name: "hostname", shape: text, required: true, format: labels(63), meaning: "name of the machine and of its node", jobs: "another name is another machine: its jobs end with the old one"},
		{name: "hostip", shape: text, required: true, format: addresses(), meaning: "where other machines reach it", jobs: jobsNoChange},
		{name: "k8s-role", shape: text, required: true, format: oneOf(RoleControlPlane, RoleWorker), meaning: "`master` carries the control plane; it runs jobs as well", jobs: jobsNoChange},
		{name: "machine-type", shape: text, format: words(), meaning: "a name of `machine-sku`", jobs: jobsNone},
	}
	keys = append(keys, reachKeys()...)
	keys = append(keys, key{name: "nodename", shape: text, since: 2, effect: informational, meaning: "earlier PAI's name of the node, its address", jobs: jobsNone})
	keys = append(keys, removedKeys("etcdid", "dashboard", "zkid", "pai-master", "pai-worker")...)
	return key{shape: object, keys: keys}
}
