package config

// moveRenamedKeys moves the keys of older services-configuration files to their
// current names. The comments of a whole section move with it.
func (e *editor) moveRenamedKeys() {
	if !e.older(ServicesFile, 2) {
		return
	}
	for _, k := range renamedKeys() {
		e.relocate(ServicesFile, k.from, k.to)
	}
	e.drop(ServicesFile, "hadoop", "PAI has no Hadoop any more")
}

type renamedKey struct{ from, to string }

// renamedKeys are the keys of services-configuration.yaml that the historical
// PAI had under other names, sections before what is in them.
func renamedKeys() []renamedKey {
	return []renamedKey{
		{"restserver", "rest-server"},
		{"frameworklauncher", "yarn-frameworklauncher"},
		{"cluster.clusterid", "cluster.common.cluster-id"},
		{"cluster.common.clusterid", "cluster.common.cluster-id"},
		{"cluster.data-path", "cluster.common.data-path"},
		{"cluster.docker-registry-info", "cluster.docker-registry"},
		{"cluster.docker-registry.docker-namespace", "cluster.docker-registry.namespace"},
		{"cluster.docker-registry.docker-registry-domain", "cluster.docker-registry.domain"},
		{"cluster.docker-registry.docker-username", "cluster.docker-registry.username"},
		{"cluster.docker-registry.docker-password", "cluster.docker-registry.password"},
		{"cluster.docker-registry.docker-tag", "cluster.docker-registry.tag"},
		{"hadoop.virtualClusters", "hadoop-resource-manager.virtualClusters"},
		{"prometheus.yarn_exporter_port", "hadoop-resource-manager.yarn_exporter_port"},
		{"prometheus.prometheus-port", "prometheus.port"},
		{"prometheus.node-exporter-port", "node-exporter.port"},
		{"prometheus.alerting", "alert-manager"},
		{"alert-manager.alert_receiver", "alert-manager.receiver"},
		{"alert-manager.alert_manager_port", "alert-manager.port"},
		{"grafana.grafana-port", "grafana.port"},
	}
}
