// Package configtest draws configurations of PAI v0.9 for tests: files in every
// form that operators write them, and today's model of them, which is made
// without reading a file.
package configtest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/config"
)

// Case is one configuration: its files, and what they mean.
type Case struct {
	Files map[string]string
	Want  config.Config
	// Comments are those that an upgrade must keep, by file. There are none
	// for a file with {flow: style}.
	Comments map[string][]string
}

const key = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="

// draw makes one case.
type draw struct {
	t    *rapid.T
	want config.Config
}

func (d draw) coin(label string) bool { return rapid.Bool().Draw(d.t, label) }

func (d draw) number(label string, low, high int) int {
	return rapid.IntRange(low, high).Draw(d.t, label)
}

// Older draws configurations of schema 1 that are valid for PAI v0.9.
func Older() *rapid.Generator[Case] {
	return rapid.Custom(func(t *rapid.T) Case {
		d := &draw{t: t}
		c := Case{Files: map[string]string{}, Comments: map[string][]string{}}
		roots := []struct {
			name string
			make func() []entry
		}{{config.ClusterFile, d.cluster}, {config.KubernetesFile, d.kubernetes}, {config.ServicesFile, d.services}}
		for _, r := range roots {
			root := r.make()
			if d.coin("says its schema") {
				root = append([]entry{{key: "schema-version", value: "1"}}, root...)
			}
			c.Files[r.name], c.Comments[r.name] = write(t, root)
		}
		if d.coin("roles") {
			c.Files[config.RolesFile] = "component-list:\n  etcd: []\n"
		}
		d.want.Layout.SchemaVersion = 1
		c.Want = d.want
		return c
	})
}

// cluster is cluster-configuration.yaml.
func (d *draw) cluster() []entry {
	d.want.Layout.MachineSKU = map[string]config.SKU{}
	var skus []entry
	for i := range d.number("skus", 1, 3) {
		name, sku := fmt.Sprintf("NC%d", 6*i+6), config.SKU{Mem: d.number("mem", 1, 512), CPU: config.SKUCPU{VCore: d.number("vcore", 1, 64)}}
		e := entry{key: name, keys: []entry{
			{key: "mem", value: strconv.Itoa(sku.Mem)},
			{key: "cpu", keys: []entry{{key: "vcore", value: strconv.Itoa(sku.CPU.VCore)}}},
			{key: "os", value: "ubuntu16.04"},
		}}
		if d.coin("gpu") {
			sku.GPU = &config.SKUGPU{Type: "teslak80", Count: d.number("gpus", 1, 8)}
			e.keys = append(e.keys, entry{key: "gpu", keys: []entry{{key: "type", value: d.quoted("teslak80")}, {key: "count", value: strconv.Itoa(sku.GPU.Count)}}})
		}
		d.want.Layout.MachineSKU[name] = sku
		skus = append(skus, e)
	}
	defaults, shared := d.defaults()
	var list [][]entry
	count := d.number("machines", 1, 5)
	master := d.number("master", 0, count-1)
	for i := range count {
		m := config.Machine{
			Hostname: fmt.Sprintf("gpu-%02d", i), HostIP: fmt.Sprintf("192.168.1.%d", i+1), Role: config.RoleWorker,
			MachineType: skus[d.number("sku", 0, len(skus)-1)].key,
		}
		if i == master {
			m.Role = config.RoleMaster
		}
		own := d.reach(&m, shared)
		keys := append([]entry{
			{key: "hostname", value: d.quoted(m.Hostname)}, {key: "hostip", value: d.quoted(m.HostIP)},
			{key: "machine-type", value: m.MachineType}, {key: "k8s-role", value: m.Role},
		}, own...)
		if d.coin("zkid") {
			keys = append(keys, entry{key: "zkid", value: `"1"`})
		}
		if i == master {
			keys = append(keys, entry{key: "dashboard", value: `"true"`}, entry{key: "etcdid", value: "etcdid1"})
		}
		list = append(list, rapid.Permutation(keys).Draw(d.t, "order"))
		d.want.Layout.MachineList = append(d.want.Layout.MachineList, m)
	}
	root := []entry{{key: "machine-sku", keys: skus}, {key: "machine-list", items: list}}
	if defaults != nil {
		root = append(root, entry{key: "default-machine-properties", keys: defaults, gone: true})
	}
	return rapid.Permutation(root).Draw(d.t, "sections")
}

// defaults draws default-machine-properties, and the machine that has them.
func (d *draw) defaults() ([]entry, config.Machine) {
	var shared config.Machine
	var keys []entry
	if d.coin("default port") {
		shared.SSHPort = d.number("port", 1, 65535)
		keys = append(keys, entry{key: "sshport", value: strconv.Itoa(shared.SSHPort)})
	}
	if d.coin("default user") {
		shared.Username = "admin"
		keys = append(keys, entry{key: "username", value: d.quoted("admin")})
	}
	if d.coin("default key") {
		shared.KeyfilePath = "/home/admin/.ssh/id"
		keys = append(keys, entry{key: "keyfile-path", value: d.quoted(shared.KeyfilePath)})
	}
	if d.coin("default password") {
		shared.Password = "a b: c#d"
		keys = append(keys, entry{key: "password", value: `"a b: c#d"`})
	}
	return keys, shared
}

// reach gives a machine the defaults and what it has of its own.
func (d *draw) reach(m *config.Machine, shared config.Machine) []entry {
	m.SSHPort, m.Username, m.KeyfilePath, m.Password = shared.SSHPort, shared.Username, shared.KeyfilePath, shared.Password
	var own []entry
	if d.coin("own port") {
		m.SSHPort = d.number("port", 1, 65535)
		own = append(own, entry{key: "sshport", value: strconv.Itoa(m.SSHPort)})
	}
	if d.coin("own user") {
		m.Username = "root"
		own = append(own, entry{key: "username", value: "root"})
	}
	if d.coin("own key") {
		m.KeyfilePath = "/root/key-" + m.Hostname
		own = append(own, entry{key: "keyfile-path", value: m.KeyfilePath})
	}
	if d.coin("own password") {
		m.Password = "0123"
		own = append(own, entry{key: "password", value: d.quotedText("0123")})
	}
	if m.SSHPort == 0 {
		m.SSHPort = config.DefaultSSHPort
	}
	if m.Username == "" {
		m.Username = config.DefaultUser
	}
	return own
}

// quotedText quotes what would be a number otherwise, at times: a password of
// digits is text all the same.
func (d *draw) quotedText(s string) string {
	if d.coin("digits without quotes") {
		return s
	}
	return `"` + s + `"`
}

// kubernetes is kubernetes-configuration.yaml.
func (d *draw) kubernetes() []entry {
	k := config.Kubernetes{
		Version: "v0.9-pai", ServiceClusterIPRange: config.DefaultServiceRange, PodClusterIPRange: config.DefaultPodRange,
		ClusterDNS: "10.96.0.10", APIServersPort: config.DefaultAPIPort, ServiceNodePortRange: config.DefaultNodePortRange,
	}
	keys := []entry{{key: "version", value: d.quoted("v0.9-pai")}, {key: "hyperkube-version", value: "v1.9.9"}, {key: "load-balance-ip", value: "192.168.1.1"}}
	if d.coin("service range") {
		k.ServiceClusterIPRange, k.ClusterDNS = "169.254.0.0/16", "169.254.0.10"
		keys = append(keys, entry{key: "service-cluster-ip-range", value: k.ServiceClusterIPRange})
		if d.coin("dns") {
			k.ClusterDNS = "169.254.7.7"
			keys = append(keys, entry{key: "cluster-dns", value: k.ClusterDNS})
		}
	}
	if d.coin("api port") {
		k.APIServersPort = 8443
		keys = append(keys, entry{key: "api-servers-port", value: "8443"}, entry{key: "api-servers-http-schema", value: "http"})
	}
	d.want.Kubernetes = k
	return []entry{{key: "kubernetes", keys: rapid.Permutation(keys).Draw(d.t, "kubernetes")}}
}

// services is services-configuration.yaml, each key spelled as one of the
// releases spelled it.
func (d *draw) services() []entry {
	s := &d.want.Services
	s.Cluster.Common = config.Common{ClusterID: "lab", Release: "v0.9", TrustedBundleKeys: []string{key}}
	s.RestServer.ServerPort, s.NodeExporter.Port = config.DefaultRestServerPort, config.DefaultNodeExporter
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
	d.maybe(&f, "9286", "webportal.server-port")
	d.maybe(&f, "/hadoop", "hadoop.custom-hadoop-binary-path")
	port := func(into *int, value int, paths ...string) {
		if d.maybe(&f, strconv.Itoa(value), paths...) {
			*into = value
		}
	}
	port(&s.RestServer.ServerPort, 9300, "restserver.server-port", "rest-server.server-port")
	port(&s.Prometheus.Port, 9301, "prometheus.prometheus-port", "prometheus.port")
	port(&s.Prometheus.ScrapeInterval, 77, "prometheus.scrape_interval")
	port(&s.NodeExporter.Port, 9302, "prometheus.node-exporter-port", "node-exporter.port")
	d.virtualClusters(&f)
	return rapid.Permutation(f.root).Draw(d.t, "sections")
}

// maybe sets a key under one of its names, or does not.
func (d *draw) maybe(f *file, value string, paths ...string) bool {
	if !d.coin("has " + paths[0]) {
		return false
	}
	f.set(rapid.SampledFrom(paths).Draw(d.t, "spelling"), value)
	return true
}

// virtualClusters are today's, Hadoop's, or none.
func (d *draw) virtualClusters(f *file) {
	s := &d.want.Services
	s.VirtualClusters = map[string]config.VirtualCluster{config.DefaultVirtualCluster: {}}
	total := d.total()
	switch d.number("virtual clusters", 0, 3) {
	case 1:
		vc := config.VirtualCluster{CPU: d.number("cpu", 1, total.CPU)}
		s.VirtualClusters = map[string]config.VirtualCluster{"vision": vc}
		f.set("virtual-clusters.vision.cpu", strconv.Itoa(vc.CPU))
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

// total is what the machines have, summed one by one.
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
			*keys = append(*keys, entry{key: name, gone: name == "hadoop", emptied: name == "alerting" || name == "docker-registry-info"})
			i = len(*keys) - 1
		}
		e = &(*keys)[i]
		keys = &e.keys
	}
	return e
}
