package configtest

import (
	"slices"
	"strconv"
	"strings"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/config"
)

// services is services-configuration.yaml, each key under one of its names.
func (d *draw) services() []entry {
	s := &d.want.Services
	s.Cluster.Common = config.Common{ClusterID: "lab", Release: "v0.9", TrustedBundleKeys: []string{key}, HistoryLimit: config.DefaultHistoryLimit}
	s.RestServer = config.RestServer{ServerPort: config.DefaultRestServerPort, EndedJobsLimit: config.DefaultEndedJobsLimit, EndedJobsDays: config.DefaultEndedJobsDays, JobList: config.DefaultJobList,
		HistoryDatabase: config.DefaultJobHistory, HistoryLimit: config.DefaultJobHistoryMax, HistoryDays: config.DefaultJobHistoryDays}
	s.NodeExporter.Port = config.DefaultNodeExporter
	s.Prometheus = config.Prometheus{Port: config.DefaultPrometheusPort, ScrapeInterval: config.DefaultScrapeInterval}
	f := file{}
	f.set("cluster.common.release", d.quoted("v0.9"))
	f.list("cluster.common.trusted-bundle-keys", key)
	f.set(rapid.SampledFrom([]string{"cluster.clusterid", "cluster.common.clusterid", "cluster.common.cluster-id"}).Draw(d.t, "id"), "lab")
	d.maybe(&f, "/datastorage", "cluster.data-path", "cluster.common.data-path")
	d.maybe(&f, "openpai", "cluster.docker-registry-info.docker-namespace", "cluster.docker-registry.namespace")
	d.maybe(&f, "hunter2", "cluster.docker-registry-info.docker-password", "cluster.docker-registry.password")
	d.maybe(&f, "9086", "frameworklauncher.frameworklauncher-port", "yarn-frameworklauncher.frameworklauncher-port")
	d.maybe(&f, "9459", "prometheus.yarn_exporter_port", "hadoop-resource-manager.yarn_exporter_port")
	d.maybe(&f, "us@example.com", "prometheus.alerting.alert_receiver", "alert-manager.receiver")
	d.maybe(&f, "9093", "prometheus.alerting.alert_manager_port", "alert-manager.port")
	d.maybe(&f, "3000", "grafana.grafana-port", "grafana.port")
	d.maybe(&f, "/hadoop", "hadoop.custom-hadoop-binary-path")
	port := func(into *int, value int, paths ...string) {
		if d.maybe(&f, strconv.Itoa(value), paths...) {
			*into = value
		}
	}
	port(&s.Cluster.Common.HistoryLimit, 77, "cluster.common.history-limit")
	rest := rapid.SampledFrom([]string{"restserver", "rest-server"}).Draw(d.t, "section of the REST server")
	port(&s.RestServer.ServerPort, 9300, rest+".server-port")
	port(&s.RestServer.EndedJobsLimit, 78, rest+".ended-jobs-limit")
	port(&s.RestServer.EndedJobsDays, 79, rest+".ended-jobs-days")
	if d.maybe(&f, "all", rest+".job-list") {
		s.RestServer.JobList = "all"
	}
	if d.maybe(&f, "postgresql", rest+".history-database") {
		s.RestServer.HistoryDatabase = "postgresql"
	}
	port(&s.RestServer.HistoryLimit, 1000, rest+".history-limit")
	port(&s.RestServer.HistoryDays, 80, rest+".history-days")
	s.Webportal.ServerPort = config.DefaultPortalPort
	port(&s.Webportal.ServerPort, 9303, "webportal.server-port")
	port(&s.Prometheus.Port, 9301, "prometheus.prometheus-port", "prometheus.port")
	port(&s.Prometheus.ScrapeInterval, 77, "prometheus.scrape_interval")
	port(&s.NodeExporter.Port, 9302, "prometheus.node-exporter-port", "node-exporter.port")
	d.receivers(&f)
	d.virtualClusters(&f)
	d.storages(&f)
	return rapid.Permutation(f.root).Draw(d.t, "sections")
}

// maybe sets a key under one of its names, or does not.
func (d *draw) maybe(f *file, value string, paths ...string) bool {
	if !d.coin("has " + paths[0]) {
		return false
	}
	f.set(rapid.SampledFrom(paths).Draw(d.t, "name"), value)
	return true
}

// receivers are of alerts, or none.
func (d *draw) receivers(f *file) {
	severities := []string{"critical", "warning"}
	a := &d.want.Services.AlertManager
	if d.coin("has receivers by mail") {
		a.Email = &config.EmailConfig{AdminReceiver: "ops@example.org", SMTPHost: "mail.example.org", SMTPPort: config.DefaultMailPort, SMTPFrom: "pai@example.org", TLS: "required", Severities: severities}
		f.set("alert-manager.email-configs.admin-receiver", "ops@example.org")
		f.set("alert-manager.email-configs.smtp-host", "mail.example.org")
		f.set("alert-manager.email-configs.smtp-from", "pai@example.org")
	}
	if d.coin("has receivers by HTTP") {
		a.Webhooks = map[string]config.WebhookConfig{"on-call": {URL: "https://example.org/hook", BearerToken: "hunter2", Severities: severities}}
		f.set("alert-manager.webhook-configs.on-call.url", d.quoted("https://example.org/hook"))
		f.set("alert-manager.webhook-configs.on-call.bearer-token", "hunter2")
	}
}

// virtualClusters are current ones, queues of Hadoop, or none.
func (d *draw) virtualClusters(f *file) {
	s := &d.want.Services
	s.VirtualClusters = map[string]config.VirtualCluster{config.DefaultVirtualCluster: {}}
	total := d.total()
	switch d.number("virtual clusters", 0, 3) {
	case 1:
		vc := config.VirtualCluster{CPU: d.number("cpu", 1, total.CPU)}
		s.VirtualClusters = map[string]config.VirtualCluster{"vision": vc}
		f.set("virtual-clusters.vision.cpu", strconv.Itoa(vc.CPU))
		if d.coin("borrows") {
			vc.Borrow, vc.BorrowGPU, vc.Weight = true, 3, 2
			f.set("virtual-clusters.vision.borrow", "true")
			f.set("virtual-clusters.vision.borrow-gpu", "3")
			f.set("virtual-clusters.vision.weight", "2")
			s.VirtualClusters["vision"] = vc
		}
		if d.coin("lends") {
			vc.Lend, vc.LendCPU = true, 1
			f.set("virtual-clusters.vision.lend", "true")
			f.set("virtual-clusters.vision.lend-cpu", "1")
			s.VirtualClusters["vision"] = vc
		}
	case 2, 3:
		section := rapid.SampledFrom([]string{"hadoop", "hadoop-resource-manager"}).Draw(d.t, "queues")
		s.VirtualClusters = map[string]config.VirtualCluster{}
		for _, name := range []string{"default", "vision"} {
			percent := d.number("capacity", 1, 50)
			f.set(section+".virtualClusters."+name+".description", d.quoted("a queue"))
			f.set(section+".virtualClusters."+name+".capacity", strconv.Itoa(percent))
			s.VirtualClusters[name] = config.VirtualCluster{
				CPU: atLeastOne(total.CPU * percent / 100), MemoryMB: atLeastOne(total.MemoryMB * percent / 100), GPU: gpus(total.GPU, percent),
			}
		}
	}
}

func atLeastOne(n int) int { return max(1, n) }

func gpus(of, percent int) int {
	if of == 0 {
		return 0
	}
	return atLeastOne(of * percent / 100)
}

// storages are a directory, or none. The historical PAI had none of these keys.
func (d *draw) storages(f *file) {
	if !d.coin("has storages") {
		return
	}
	want := config.Storage{Type: "directory", Path: "/data/sets", ReadOnly: d.coin("read-only"), PerUser: d.coin("per user"), Default: d.coin("default"), Groups: []string{"default"}}
	f.set("storages.sets.type", want.Type)
	f.set("storages.sets.path", want.Path)
	f.set("storages.sets.read-only", strconv.FormatBool(want.ReadOnly))
	f.set("storages.sets.per-user", strconv.FormatBool(want.PerUser))
	f.set("storages.sets.default", strconv.FormatBool(want.Default))
	f.list("storages.sets.groups", want.Groups...)
	d.want.Services.Storages = map[string]config.Storage{"sets": want}
}

// total is the capacity of the machines.
func (d *draw) total() config.VirtualCluster {
	var sum config.VirtualCluster
	for _, m := range d.want.Layout.MachineList {
		sku := d.want.Layout.MachineSKU[m.MachineType]
		sum.CPU += sku.CPU.VCore
		sum.MemoryMB += sku.Mem * 1024
		if sku.GPU != nil {
			sum.GPU += sku.GPU.Count
		}
	}
	return sum
}

// file collects keys by their paths.
type file struct{ root []entry }

func (f *file) set(path, value string) { f.at(path).value = value }

func (f *file) list(path string, values ...string) { f.at(path).plain = values }

func (f *file) at(path string) *entry {
	keys := &f.root
	var e *entry
	for name := range strings.SplitSeq(path, ".") {
		i := slices.IndexFunc(*keys, func(e entry) bool { return e.key == name })
		if i < 0 {
			*keys = append(*keys, entry{key: name, dropped: name == "hadoop", emptied: name == "alerting" || name == "docker-registry-info"})
			i = len(*keys) - 1
		}
		e = &(*keys)[i]
		keys = &e.keys
	}
	return e
}
