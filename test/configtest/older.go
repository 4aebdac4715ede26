// Package configtest draws configurations of PAI v0.9 for tests: files in every
// form that operators write, and the model of them, which is made without
// reading a file.
package configtest

import (
	"fmt"
	"strconv"

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
			if d.coin("names its schema") {
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
	controlPlane := d.number("control plane", 0, count-1)
	for i := range count {
		m := config.Machine{
			Hostname: fmt.Sprintf("gpu-%02d", i), HostIP: fmt.Sprintf("192.168.1.%d", i+1), Role: config.RoleWorker,
			MachineType: skus[d.number("sku", 0, len(skus)-1)].key,
		}
		if i == controlPlane {
			m.Role = config.RoleControlPlane
		}
		own := d.reach(&m, shared)
		keys := append([]entry{
			{key: "hostname", value: d.quoted(m.Hostname)}, {key: "hostip", value: d.quoted(m.HostIP)},
			{key: "machine-type", value: m.MachineType}, {key: "k8s-role", value: m.Role},
		}, own...)
		if d.coin("zkid") {
			keys = append(keys, entry{key: "zkid", value: `"1"`})
		}
		if i == controlPlane {
			keys = append(keys, entry{key: "dashboard", value: `"true"`}, entry{key: "etcdid", value: "etcdid1"})
		}
		list = append(list, rapid.Permutation(keys).Draw(d.t, "order"))
		d.want.Layout.MachineList = append(d.want.Layout.MachineList, m)
	}
	root := []entry{{key: "machine-sku", keys: skus}, {key: "machine-list", items: list}}
	if defaults != nil {
		root = append(root, entry{key: "default-machine-properties", keys: defaults, dropped: true})
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

// reach gives a machine the defaults and properties that only it has.
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

// quotedText sometimes quotes a text of digits, which is a valid password
// without quotes, too.
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
		TaskNetworks: []string{config.DefaultTaskNetwork}, APIAddress: config.DefaultAPIAddress,
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
