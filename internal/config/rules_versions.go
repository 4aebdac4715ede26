package config

import (
	"slices"
	"strings"

	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/yamldoc"
)

// Release is what a check knows of one release.
type Release struct {
	Pair pai.Pair
	// CompatibleSince is the oldest Kubernetes that its services run on.
	CompatibleSince pai.Version
	// Schema is the newest schema of configurations that came with it.
	Schema int
}

// versions holds the two versions against the releases that are known, if any.
func (r rules) versions() {
	if len(r.known) == 0 {
		return
	}
	const servicesPath, kubernetesPath = "cluster.common.release", "kubernetes.version"
	pair := r.c.Pair()
	services := slices.IndexFunc(r.known, func(k Release) bool { return pair.Services != "" && k.Pair.Services.Compare(pair.Services) == 0 })
	kubernetes := slices.ContainsFunc(r.known, func(k Release) bool {
		return pair.Kubernetes != "" && k.Pair.Kubernetes.Compare(pair.Kubernetes) == 0
	})
	if services < 0 && checkRelease(string(pair.Services)) == "" {
		r.problem(ServicesFile, servicesPath, "release: there is no release %s; there are %s", pair.Services, r.all(func(k Release) pai.Version { return k.Pair.Services }))
	}
	if !kubernetes && checkKubernetesVersion(string(pair.Kubernetes)) == "" {
		r.problem(KubernetesFile, kubernetesPath, "version: no release carries Kubernetes %s; there are %s", pair.Kubernetes, r.all(func(k Release) pai.Version { return k.Pair.Kubernetes }))
	}
	if services < 0 || !kubernetes {
		return
	}
	if row := r.known[services]; !pair.Kubernetes.AtLeast(row.CompatibleSince) {
		r.problem(ServicesFile, servicesPath, "release: the support plan forbids services %s on Kubernetes %s: they run on %s and newer (%s:%d)",
			pair.Services, pair.Kubernetes, row.CompatibleSince, KubernetesFile, r.line(KubernetesFile, kubernetesPath))
	}
}

func (r rules) all(of func(Release) pai.Version) string {
	var names []string
	for _, k := range r.known {
		names = append(names, string(of(k)))
	}
	return strings.Join(names, ", ")
}

// passwords advises whoever logs in with one.
func (r rules) passwords() {
	t := r.trees[LayoutFile]
	for i, m := range r.c.Layout.MachineList {
		if m.Password != "" && m.KeyfilePath == "" {
			t.note(t.at(machinePath(i, "password")), "password: a key is safer: ssh-copy-id %s@%s, and name the key with keyfile-path", yamldoc.Shorten(m.Username), yamldoc.Shorten(m.HostIP))
		}
	}
}

// capacity is what all machines have together. What a machine's SKU does not
// say is unknown.
type capacity struct {
	cpu, memoryMB, gpu              int
	knowsCPU, knowsMemory, knowsGPU bool
}

func (c *Config) capacity() capacity {
	total := capacity{knowsCPU: true, knowsMemory: true, knowsGPU: true}
	for _, m := range c.Layout.MachineList {
		sku, known := c.Layout.MachineSKU[m.MachineType]
		total.knowsCPU = total.knowsCPU && sku.CPU.VCore > 0
		total.knowsMemory = total.knowsMemory && sku.Mem > 0
		total.knowsGPU = total.knowsGPU && known // a SKU without GPUs has none
		total.cpu += sku.CPU.VCore
		total.memoryMB += sku.Mem << 10
		if sku.GPU != nil {
			total.gpu += sku.GPU.Count
		}
	}
	return total
}

// shares holds every virtual cluster against the machines.
func (r rules) shares() {
	total := r.c.capacity()
	tooLarge := func(name, key string, limit, have int, known bool, unit string) {
		if known && limit > have {
			r.problem(ServicesFile, "virtual-clusters."+name+"."+key, "%s: virtual cluster %s is larger than the machines of machine-list, which have %d%s together", key, name, have, unit)
		}
	}
	for name, vc := range r.c.Services.VirtualClusters {
		tooLarge(name, "cpu", vc.CPU, total.cpu, total.knowsCPU, " cores")
		tooLarge(name, "memory-mb", vc.MemoryMB, total.memoryMB, total.knowsMemory, " MiB")
		tooLarge(name, "gpu", vc.GPU, total.gpu, total.knowsGPU, " GPUs")
	}
}

// hadoopQueues are the virtual clusters of a PAI that ran on Hadoop.
type hadoopQueues struct {
	ResourceManager struct {
		VirtualClusters map[string]struct {
			Capacity int `yaml:"capacity"`
		} `yaml:"virtualClusters"`
	} `yaml:"hadoop-resource-manager"`
}

// virtualClustersOf makes today's virtual clusters of Hadoop's queues, whose
// capacity is a percentage of the machines, where there are none of today's.
func (c *Config) virtualClustersOf(q hadoopQueues) {
	if len(c.Services.VirtualClusters) > 0 {
		return
	}
	total := c.capacity()
	share := func(of int, known bool, percent int) int {
		if !known || of == 0 || percent == 0 {
			return 0
		}
		return max(1, of*percent/100)
	}
	for name, queue := range q.ResourceManager.VirtualClusters {
		if c.Services.VirtualClusters == nil {
			c.Services.VirtualClusters = map[string]VirtualCluster{}
		}
		c.Services.VirtualClusters[name] = VirtualCluster{
			CPU:      share(total.cpu, total.knowsCPU, queue.Capacity),
			MemoryMB: share(total.memoryMB, total.knowsMemory, queue.Capacity),
			GPU:      share(total.gpu, total.knowsGPU, queue.Capacity),
		}
	}
}
