package config

import "go.yaml.in/yaml/v3"

// The names of the three files, in the order in which they are read.
const (
	LayoutFile     = "layout.yaml"
	KubernetesFile = "kubernetes-configuration.yaml"
	ServicesFile   = "services-configuration.yaml"
)

var files = [...]string{LayoutFile, KubernetesFile, ServicesFile}

// Schema is the schema version that this package reads and writes.
const Schema = 2

// shape says what may stand at one place of a file.
type shape int

const (
	object shape = iota // a mapping with keys of the schema's choice
	table               // a mapping with names of the user's choice
	list
	text
	number
)

// key is the schema of one key: the one definition that the shape check, the
// messages and (later) the generated documents follow.
type key struct {
	name     string
	shape    shape
	required bool
	keys     []key // of an object
	item     *key  // of a table's and a list's entries
	// check looks at one value, or at a table's name; it returns what is wrong
	// with it, or nothing.
	check func(value string) string
	// historical keys, which meant something to earlier PAI and have no effect now.
	historical []string
}

func (k key) child(name string) (key, bool) {
	for _, c := range k.keys {
		if c.name == name {
			return c, true
		}
	}
	return key{}, false
}

func (k key) names() []string {
	names := make([]string, len(k.keys))
	for i, c := range k.keys {
		names[i] = c.name
	}
	return names
}

func schemaVersion() key {
	return key{name: "schema-version", shape: number, check: checkSchema}
}

func schemas() map[string]key {
	return map[string]key{
		LayoutFile:     layoutSchema(),
		KubernetesFile: kubernetesSchema(),
		ServicesFile:   servicesSchema(),
	}
}

func layoutSchema() key {
	sku := key{shape: object, keys: []key{
		{name: "mem", shape: number, check: between(1, 1<<20)},
		{name: "cpu", shape: object, keys: []key{{name: "vcore", shape: number, check: between(1, 1<<14)}}},
		{name: "gpu", shape: object, keys: []key{
			{name: "type", shape: text, required: true, check: checkWord},
			{name: "count", shape: number, required: true, check: between(1, 1024)},
		}},
	}, check: checkWord, historical: []string{"os", "dataFolder"}}
	machine := key{shape: object, keys: []key{
		{name: "hostname", shape: text, required: true, check: checkLabel(63)},
		{name: "hostip", shape: text, required: true, check: checkAddress},
		{name: "machine-type", shape: text, check: checkWord},
		{name: "sshport", shape: number, check: between(1, 65535)},
		{name: "username", shape: text, check: checkUser},
		{name: "keyfile-path", shape: text, check: checkAbsolute},
		{name: "k8s-role", shape: text, required: true, check: oneOf(RoleMaster, RoleWorker)},
	}, historical: []string{"etcdid", "docker-data", "nodename", "dashboard", "zkid", "pai-master", "pai-worker", "password"}}
	return key{shape: object, keys: []key{
		schemaVersion(),
		{name: "machine-sku", shape: table, item: &sku},
		{name: "machine-list", shape: list, required: true, item: &machine},
	}, historical: []string{"kubernetes"}}
}

func kubernetesSchema() key {
	return key{shape: object, keys: []key{
		schemaVersion(),
		{name: "kubernetes", shape: object, required: true, keys: []key{
			{name: "version", shape: text, required: true, check: checkKubernetesVersion},
			{name: "service-cluster-ip-range", shape: text, check: checkRange},
			{name: "pod-cluster-ip-range", shape: text, check: checkRange},
			{name: "cluster-dns", shape: text, check: checkAddress},
			{name: "api-servers-port", shape: number, check: between(1, 65535)},
			{name: "service-node-port-range", shape: text, check: checkPortRange},
		}, historical: []string{
			"load-balance-ip", "api-servers-http-schema", "storage-backend", "docker-registry", "hyperkube-version",
			"etcd-version", "apiserver-version", "kube-scheduler-version", "kube-controller-manager-version",
			"dashboard-version", "etcd-data-path", "qos-switch",
		}},
	}}
}

func servicesSchema() key {
	virtualCluster := key{shape: object, keys: []key{
		{name: "cpu", shape: number, check: between(0, 1<<24)},
		{name: "memory-mb", shape: number, check: between(0, 1<<40)},
		{name: "gpu", shape: number, check: between(0, 1<<20)},
	}, check: checkLabel(maxVirtualClusterName)}
	trusted := key{shape: text, check: checkBundleKey}
	return key{shape: object, keys: []key{
		schemaVersion(),
		{name: "cluster", shape: object, required: true, keys: []key{
			{name: "common", shape: object, required: true, keys: []key{
				{name: "cluster-id", shape: text, required: true, check: checkLabel(maxClusterID)},
				{name: "release", shape: text, required: true, check: checkRelease},
				{name: "trusted-bundle-keys", shape: list, required: true, item: &trusted},
			}, historical: []string{"data-path", "qos-switch", "az-rdma"}},
		}, historical: []string{"docker-registry"}},
		{name: "rest-server", shape: object, keys: []key{
			{name: "server-port", shape: number, check: between(1, 65535)},
		}, historical: []string{
			"jwt-secret", "default-pai-admin-username", "default-pai-admin-password",
			"github-owner", "github-repository", "github-path",
		}},
		{name: "prometheus", shape: object, keys: []key{
			{name: "port", shape: number, check: between(1, 65535)},
			{name: "scrape_interval", shape: number, check: between(1, 86400)},
		}},
		{name: "node-exporter", shape: object, keys: []key{
			{name: "port", shape: number, check: between(1, 65535)},
		}},
		{name: "virtual-clusters", shape: table, item: &virtualCluster},
	}, historical: []string{
		"hadoop-resource-manager", "hadoop-data-node", "yarn-frameworklauncher", "webportal", "grafana",
		"drivers", "alert-manager", "pylon", "cleaner",
	}}
}

// kubernetesFile is kubernetes-configuration.yaml around its one section;
// the schema version is checked by its shape and kept in the layout.
type kubernetesFile struct {
	Kubernetes Kubernetes `yaml:"kubernetes"`
}

// decode fills into from a tree whose shape was checked. What does not fit
// stays at its zero value: the shape check has already named it.
func decode(root *yaml.Node, into any) { _ = root.Decode(into) }
