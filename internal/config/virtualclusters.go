package config

// capacity is the total of all machines. It is unknown where the SKU of a
// machine does not name it.
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

// shares compares every virtual cluster with the machines.
func (r rules) shares() {
	total := r.c.capacity()
	tooLarge := func(name, key string, limit, have int, known bool, unit string) {
		if known && limit > have {
			r.problem(ServicesFile, "virtual-clusters."+name+"."+key, "%s: virtual cluster %s is larger than the machines of machine-list, which have %d%s in total", key, name, have, unit)
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

// addQueues turns the queues of Hadoop, whose capacity is a percentage of the
// machines, into virtual clusters, unless the configuration has some.
func (c *Config) addQueues(q hadoopQueues) {
	if len(c.Services.VirtualClusters) > 0 || len(q.ResourceManager.VirtualClusters) == 0 {
		return
	}
	total := c.capacity()
	share := func(of int, known bool, percent int) int {
		if !known || of == 0 || percent == 0 {
			return 0
		}
		return max(1, of*percent/100)
	}
	c.Services.VirtualClusters = map[string]VirtualCluster{}
	for name, queue := range q.ResourceManager.VirtualClusters {
		c.Services.VirtualClusters[name] = VirtualCluster{
			CPU:      share(total.cpu, total.knowsCPU, queue.Capacity),
			MemoryMB: share(total.memoryMB, total.knowsMemory, queue.Capacity),
			GPU:      share(total.gpu, total.knowsGPU, queue.Capacity),
		}
	}
}
