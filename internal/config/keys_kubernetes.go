package config

// kubernetesKeys is kubernetes-configuration.yaml.
func kubernetesKeys() key {
	return key{shape: object, keys: []key{
		schemaVersion("1", "2"),
		{name: "kubernetes", shape: object, required: true, keys: append([]key{
			{
				name: "version", shape: text, required: true, format: kubernetesNames(),
				meaning: "the Kubernetes to run; `upgrade apply` and `config upgrade` change it", jobs: "nothing by itself; the upgrade to it leaves them running",
			},
			{
				name: "service-cluster-ip-range", shape: text, format: ranges(), def: DefaultServiceRange,
				meaning: "addresses of services, /12 to /26; no machine's address may be in it", jobs: jobsNoChange,
			},
			{
				name: "pod-cluster-ip-range", shape: text, format: ranges(), def: DefaultPodRange,
				meaning: "addresses of pods, a /24 for each machine; no machine's address may be in it", jobs: jobsNoChange,
			},
			{
				name: "cluster-dns", shape: text, format: addresses(), def: "tenth address of the service range",
				meaning: "name server of pods, in the service range", jobs: jobsNoChange,
			},
			{name: "api-servers-port", shape: number, format: ports(), def: "6443", meaning: "where the API answers, on every machine", jobs: jobsNoChange},
			{
				name: "service-node-port-range", shape: text, format: portRanges(), def: DefaultNodePortRange,
				meaning: "ports that services may be reached at on machines", jobs: jobsNone,
			},
			{
				name: "load-balance-ip", shape: text, effect: informational,
				meaning: "part of the API's URL in `layout.yaml`; today each machine finds the API itself", jobs: jobsNone,
			},
			{name: "api-servers-http-schema", shape: text, effect: informational, meaning: "part of the API's URL in `layout.yaml`; the API speaks https", jobs: jobsNone},
		}, removedKeys(
			"storage-backend", "docker-registry", "hyperkube-version", "etcd-version", "apiserver-version",
			"kube-scheduler-version", "kube-controller-manager-version", "dashboard-version", "etcd-data-path", "qos-switch",
		)...)},
	}}
}
