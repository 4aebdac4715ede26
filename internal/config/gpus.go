package config

// HasGPUs reports whether the configuration says that a machine has GPUs.
func (c *Config) HasGPUs(m Machine) bool {
	sku := c.Layout.MachineSKU[m.MachineType]
	return sku.GPU != nil && sku.GPU.Count > 0
}
