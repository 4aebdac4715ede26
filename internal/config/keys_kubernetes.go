package config

// kubernetesKeys is kubernetes-configuration.yaml.
func kubernetesKeys() key {
	return key{shape: object, keys: []key{
		schemaVersion("1", "2"),
		{name: "kubernetes", shape: object, required: true, keys: append([]key{
			{
				name: "version", shape: text, required: true, format: kubernetesNames(),
				meaning: "the Kubernetes to run; `upgrade apply` and `config upgrade` change it", jobs: "none; the upgrade to it keeps them running",
			},
			{
				name: "service-cluster-ip-range", shape: text, format: ranges(), def: DefaultServiceRange,
				meaning: "addresses of services, /12 to /26, without the address of any machine", jobs: jobsNoChange,
			},
			{
				name: "pod-cluster-ip-range", shape: text, format: ranges(), def: DefaultPodRange,
				meaning: "addresses of pods, a /24 for each machine, without the address of any machine", jobs: jobsNoChange,
			},
			{
				name: "cluster-dns", shape: text, format: addresses(), def: "tenth address of the service range",
				meaning: "DNS server of pods, in the service range", jobs: jobsNoChange,
			},
			{name: "api-servers-port", shape: number, format: ports(), def: "6443", meaning: "port of the Kubernetes API on every machine", jobs: jobsNoChange},
			{
				name: "api-address", shape: text, format: apiAddresses(), def: DefaultAPIAddress,
				meaning: "with several control-plane machines, the address of the Kubernetes API for pods, which PAI adds to every machine; " +
					"no network of a machine has it, nor the ranges above; a `paictl` before v0.11 refuses the key", jobs: jobsNoChange,
			},
			{
				name: "service-node-port-range", shape: text, format: portRanges(), def: DefaultNodePortRange,
				meaning: "ports of services on the machines", jobs: jobsNone,
			},
			{
				name: "task-networks", shape: list, item: &key{shape: text, format: ranges()}, def: DefaultTaskNetwork,
				meaning: "networks outside of the cluster that tasks reach, at most 64; an empty list is none; a `paictl` before v0.11 refuses the key", jobs: jobsKeepNetwork,
			},
			{
				name: "task-ports", shape: list, item: &key{shape: text, format: taskPorts()}, def: "none",
				meaning: "ports of machines and of services that tasks reach, at most 64, such as `10.0.0.5:2049/tcp`; a `paictl` before v0.11 refuses the key", jobs: jobsKeepNetwork,
			},
			backupKeys(),
			{
				name: "load-balance-ip", shape: text, effect: informational,
				meaning: "host of the API URL in `layout.yaml`; machines find the API without it", jobs: jobsNone,
			},
			{name: "api-servers-http-schema", shape: text, effect: informational, meaning: "scheme of the API URL in `layout.yaml`; the API uses https", jobs: jobsNone},
		}, removedKeys(
			"storage-backend", "docker-registry", "hyperkube-version", "etcd-version", "apiserver-version",
			"kube-scheduler-version", "kube-controller-manager-version", "dashboard-version", "etcd-data-path", "qos-switch",
		)...)},
	}}
}
