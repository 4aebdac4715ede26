package check

// All lists every check, in the order in which they are reported.
func All() []Check {
	const every = Boot | Services | Upgrade | Staging
	return []Check{
		{"cluster-id", "the cluster is the one that the configuration is for", every, true, clusterID},
		{"configuration", "the configuration makes sense to the release", Services | Upgrade, true, configuration},
		{"support-plan", "the support plan has a way to the release", Upgrade, true, supportPlan},
		{"operation", "no other operation is under way or was left unfinished", Upgrade | Staging, true, operation},
		{"bundle", "the bundles are signed by a trusted key and complete", every, true, bundles},
		{"content", "which programs and images machines have already", 0, false, content},
		{"version-skew", "every component's version fits the API server's", Upgrade, false, versionSkew},

		{"machine-reachable", "every machine answers", Upgrade, false, reachable},
		{"machine-time", "the machines' clocks agree", Boot | Upgrade, false, clocks},
		{"machine-disk", "there is room for programs, images and snapshots", every, true, disks},
		{"machine-memory", "a second API server and etcd fit beside the first", Boot | Upgrade, false, memory},
		{"machine-ports", "the ports are free, or used by PAI", Boot | Upgrade, true, ports},
		{"machine-cgroups", "the kernel can limit containers", Boot | Upgrade, true, cgroups},
		{"machine-kernel", "the kernel has what pods and their network need", Boot | Upgrade, true, kernel},
		{"machine-swap", "swap is off", 0, false, swap},
		{"machine-names", "look-ups of names are answered in time", Boot | Upgrade, false, names},
		{"machine-runtime", "the release's kubelet supports the container runtime", Upgrade, false, containerRuntime},
		{"machine-resources", "no CPU or memory policy is in a kubelet's way", Upgrade, true, resourceManagers},
		{"certificates", "no certificate ends soon", Upgrade, false, certificates},

		{"components", "every component of Kubernetes runs and is healthy", Upgrade, false, components},
		{"control-plane", "the API says that all of it is ready", Services | Upgrade, false, controlPlane},
		{"etcd", "etcd is healthy, has a leader and has room", Upgrade, false, etcd},
		{"node-ready", "every node is ready and short of nothing", Upgrade, false, nodesReady},
		{"node-cordoned", "nodes that take no pods, and who cordoned them", Upgrade, false, nodesCordoned},
		{"pod-owners", "pods that nothing would make again", Upgrade, false, podOwners},
		{"service-ready", "every service is ready", Upgrade, false, servicesReady},
		{"webhooks", "webhooks that fail closed have somebody to answer", Upgrade, false, webhooks},

		{"deprecated-apis", "nothing uses an API that the release's Kubernetes no longer has", Upgrade, false, deprecatedAPIs},
		{"stored-objects", "stored objects are valid under the release's definitions", Services | Upgrade, false, storedObjects},
		{"stored-versions", "the release's definitions still have every stored version", Services | Upgrade, false, storedVersions},
		{"jobs", "no running job is in the way of a step", Upgrade, true, jobs},
	}
}
