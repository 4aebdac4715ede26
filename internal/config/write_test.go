package config

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pai.dev/pai/internal/golden"
	"pai.dev/pai/internal/pai"
)

// anyConfig draws valid configurations with all values that are allowed.
func anyConfig() *rapid.Generator[Config] {
	name := func(limit int) *rapid.Generator[string] {
		return rapid.StringMatching(`[a-z0-9]([-a-z0-9]{0,8}[a-z0-9])?`).Filter(func(s string) bool { return len(s) <= limit })
	}
	version := rapid.Custom(func(t *rapid.T) string {
		v := fmt.Sprintf("v%d.%d", rapid.IntRange(0, 9).Draw(t, "major"), rapid.IntRange(0, 30).Draw(t, "minor"))
		if rapid.Bool().Draw(t, "patched") {
			v += fmt.Sprintf(".%d", rapid.IntRange(0, 9).Draw(t, "patch"))
		}
		return v
	})
	return rapid.Custom(func(t *rapid.T) Config {
		skus := rapid.MapOfN(rapid.StringMatching(`[A-Za-z0-9]([-A-Za-z0-9_.]{0,6}[A-Za-z0-9])?`), rapid.Custom(func(t *rapid.T) SKU {
			s := SKU{Mem: rapid.IntRange(0, 512).Draw(t, "mem"), CPU: SKUCPU{VCore: rapid.IntRange(0, 64).Draw(t, "vcore")}}
			if rapid.Bool().Draw(t, "gpu") {
				s.GPU = &SKUGPU{Type: rapid.StringMatching(`[A-Za-z0-9]{1,6}`).Draw(t, "type"), Count: rapid.IntRange(1, 16).Draw(t, "count")}
			}
			return s
		}), 0, 3).Draw(t, "skus")
		kinds := []string{""}
		for k := range skus {
			kinds = append(kinds, k)
		}
		names := rapid.SliceOfNDistinct(name(63), 1, 6, rapid.ID[string]).Draw(t, "names")
		var machines []Machine
		for i, n := range names {
			m := Machine{
				Hostname: n, HostIP: fmt.Sprintf("192.168.%d.%d", rapid.IntRange(0, 255).Draw(t, "net"), i+1),
				MachineType: kinds[rapid.IntRange(0, len(kinds)-1).Draw(t, "kind")],
				SSHPort:     rapid.IntRange(1, 65535).Draw(t, "sshport"),
				Username:    rapid.StringMatching(`[a-z_][-a-z0-9_]{0,5}`).Draw(t, "user"),
				Role:        RoleWorker,
			}
			if rapid.Bool().Draw(t, "keyfile") {
				m.KeyfilePath = "/" + rapid.StringMatching(`[^/\x00-\x1f.]{1,12}`).Draw(t, "key")
			}
			if rapid.Bool().Draw(t, "password") {
				m.Password = Secret(rapid.StringMatching("[ -~é\n\r\u0085\u2028]{1,9}").Draw(t, "secret"))
			}
			if i > 0 && rapid.Bool().Draw(t, "like the first") {
				m.SSHPort, m.Username, m.KeyfilePath = machines[0].SSHPort, machines[0].Username, machines[0].KeyfilePath
			}
			machines = append(machines, m)
		}
		machines[rapid.IntRange(0, len(machines)-1).Draw(t, "control plane")].Role = RoleControlPlane
		keys := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string {
			seed := rapid.SliceOfN(rapid.Byte(), ed25519.PublicKeySize, ed25519.PublicKeySize).Draw(t, "key")
			return base64.StdEncoding.EncodeToString(seed)
		}), 1, 3).Draw(t, "keys")
		release := version.Draw(t, "release")
		c := New(name(maxClusterID).Draw(t, "id"), pai.Pair{Services: pai.ServicesVersion(release), Kubernetes: pai.KubernetesVersion(version.Draw(t, "kubernetes") + "-pai")}, machines, keys)
		if len(skus) > 0 {
			c.Layout.MachineSKU = skus
		}
		c.Layout.SchemaVersion = rapid.IntRange(OldestSchema, Schema).Draw(t, "schema")
		total := c.capacity()
		c.Services.VirtualClusters = rapid.MapOfN(name(maxVirtualClusterName), rapid.Custom(func(t *rapid.T) VirtualCluster {
			limit := func(name string, have int, known bool) int {
				if !known {
					have = 1000
				}
				return rapid.IntRange(0, have).Draw(t, name)
			}
			vc := VirtualCluster{
				CPU: limit("cpu", total.cpu, total.knowsCPU), MemoryMB: limit("memory", total.memoryMB, total.knowsMemory),
				GPU:          limit("gpu", total.gpu, total.knowsGPU),
				Capabilities: grants().Draw(t, "capabilities"), TaskDiskMB: rapid.IntRange(0, 1<<30).Draw(t, "disk of a task"),
			}
			drawBorrowing(t, &vc)
			return vc
		}), 1, 4).Draw(t, "virtual clusters")
		c.Services.Storages = rapid.MapOfN(name(maxStorageName), anyStorage(), 0, 2).Draw(t, "storages")
		if len(c.Services.Storages) == 0 {
			c.Services.Storages = nil
		}
		ports := rapid.SliceOfNDistinct(rapid.IntRange(9000, 9999), 4, 4, rapid.ID[int]).Draw(t, "ports")
		c.Services.RestServer.ServerPort, c.Services.Prometheus.Port, c.Services.NodeExporter.Port = ports[0], ports[1], ports[2]
		c.Services.Webportal.ServerPort = ports[3]
		c.Services.RestServer.EndedJobsLimit = rapid.IntRange(10, 10000).Draw(t, "ended jobs")
		c.Services.RestServer.HistoryDatabase = rapid.SampledFrom([]string{"sqlite", "postgresql", "none"}).Draw(t, "history")
		c.Services.RestServer.HistoryLimit = rapid.IntRange(100, 1000000).Draw(t, "jobs of the history")
		c.Services.RestServer.HistoryDays = rapid.IntRange(1, 3650).Draw(t, "days of the history")
		c.Services.RestServer.JobList = rapid.SampledFrom([]string{"own", "all"}).Draw(t, "job list")
		c.Services.RestServer.EndedJobsDays = rapid.IntRange(1, 3650).Draw(t, "days of ended jobs")
		c.Services.Prometheus.ScrapeInterval = rapid.IntRange(1, 86400).Draw(t, "interval")
		c.Kubernetes.ServiceClusterIPRange = fmt.Sprintf("10.%d.0.0/16", rapid.IntRange(0, 99).Draw(t, "services"))
		c.Kubernetes.PodClusterIPRange = fmt.Sprintf("10.%d.0.0/16", rapid.IntRange(100, 255).Draw(t, "pods"))
		c.Kubernetes.ClusterDNS = clusterDNS(c.Kubernetes.ServiceClusterIPRange)
		c.Kubernetes.APIAddress = rapid.SampledFrom([]string{DefaultAPIAddress, "100.64.0.1", "192.0.2.7"}).Draw(t, "address of the API")
		if rapid.Bool().Draw(t, "limited") {
			c.Kubernetes.TaskNetworks = rapid.SliceOfN(rapid.SampledFrom([]string{"0.0.0.0/0", "172.16.0.0/12", "10.0.0.0/8", "192.0.2.1/32"}), 0, 3).Draw(t, "networks of tasks")
			c.Kubernetes.TaskPorts = rapid.SliceOfN(rapid.SampledFrom([]string{"192.168.0.5:2049/tcp", "192.168.0.0/28:9000-9010/udp"}), 1, 3).Draw(t, "ports of tasks")
		}
		if rapid.Bool().Draw(t, "backup") {
			c.Kubernetes.Backup = anyBackup().Draw(t, "backups")
		}
		c.Services.AlertManager = anyReceivers(name(maxReceiverName)).Draw(t, "receivers")
		return c
	})
}

// drawBorrowing draws what a virtual cluster with limits borrows and lends.
func drawBorrowing(t *rapid.T, vc *VirtualCluster) {
	if vc.CPU+vc.MemoryMB+vc.GPU == 0 {
		return
	}
	if vc.Borrow = rapid.Bool().Draw(t, "borrows"); vc.Borrow {
		most := rapid.IntRange(0, 100)
		vc.BorrowCPU, vc.BorrowMemoryMB, vc.BorrowGPU = most.Draw(t, "borrowed cpu"), most.Draw(t, "borrowed memory"), most.Draw(t, "borrowed gpu")
		vc.Weight = rapid.IntRange(0, 1000).Draw(t, "weight")
	}
	if vc.Lend = rapid.Bool().Draw(t, "lends"); vc.Lend {
		vc.LendCPU, vc.LendMemoryMB = rapid.IntRange(0, vc.CPU).Draw(t, "lent cpu"), rapid.IntRange(0, vc.MemoryMB).Draw(t, "lent memory")
		vc.LendGPU = rapid.IntRange(0, vc.GPU).Draw(t, "lent gpu")
	}
}

// anyStorage draws storages of both types.
func anyStorage() *rapid.Generator[Storage] {
	return rapid.Custom(func(t *rapid.T) Storage {
		s := Storage{
			Type: pai.StorageDirectory, Path: "/data/" + rapid.StringMatching(`[A-Za-z0-9_-]{1,8}`).Draw(t, "path"),
			ReadOnly: rapid.Bool().Draw(t, "read-only"), PerUser: rapid.Bool().Draw(t, "per user"), Default: rapid.Bool().Draw(t, "default"),
		}
		if rapid.Bool().Draw(t, "nfs") {
			s.Type, s.Server = pai.StorageNFS, rapid.SampledFrom([]string{"nas", "192.168.1.2", "nas-1.example.com"}).Draw(t, "server")
		}
		if rapid.Bool().Draw(t, "with groups") {
			s.Groups = rapid.SliceOfN(rapid.StringMatching(`[A-Za-z0-9_][A-Za-z0-9_.-]{0,5}`), 1, 3).Draw(t, "groups")
		}
		return s
	})
}

// anyBackup draws backups without an operator.
func anyBackup() *rapid.Generator[*Backup] {
	return rapid.Custom(func(t *rapid.T) *Backup {
		b := &Backup{To: "/mnt/" + rapid.StringMatching(`[a-z0-9._-]{3,8}`).Filter(func(s string) bool { return s != ".." }).Draw(t, "directory"), Keep: rapid.IntRange(1, 1000).Draw(t, "kept")}
		if rapid.Bool().Draw(t, "regular") {
			b.Every = rapid.SampledFrom([]string{"1m", "90s", "6h", "24h0m0s"}).Draw(t, "every")
		} else {
			b.Calendar = rapid.SampledFrom([]string{"daily", "02:30", "Mon..Fri *-*-* 02:30:00", "*:0/15"}).Draw(t, "calendar")
		}
		b.Recipients = rapid.SliceOfN(rapid.SampledFrom([]string{testRecipient}), 1, 2).Draw(t, "recipients")
		return b
	})
}

// anyReceivers draws receivers of alerts, or none.
func anyReceivers(names *rapid.Generator[string]) *rapid.Generator[AlertManager] {
	severities := rapid.SampledFrom([][]string{{"critical", "warning"}, {"info"}, {"warning", "critical", "info"}})
	return rapid.Custom(func(t *rapid.T) AlertManager {
		var a AlertManager
		if rapid.Bool().Draw(t, "mail") {
			a.Email = &EmailConfig{AdminReceiver: "ops@example.org, on-call@example.org", SMTPHost: "mail.example.org", SMTPFrom: "pai@example.org",
				SMTPPort: rapid.IntRange(1, 65535).Draw(t, "port"), TLS: "none", Severities: severities.Draw(t, "severities")}
			if rapid.Bool().Draw(t, "login") {
				a.Email.TLS = "required"
				a.Email.Username = rapid.StringMatching(`[ -~é]{1,9}`).Draw(t, "user of mail")
				a.Email.Password = Secret(rapid.StringMatching(`[ -~é]{1,9}`).Draw(t, "password of mail"))
			}
		}
		webhooks := rapid.MapOfN(names, rapid.Custom(func(t *rapid.T) WebhookConfig {
			w := WebhookConfig{URL: Secret("https://example.org/" + rapid.StringMatching(`[!-~]{0,9}`).Filter(func(s string) bool { return !strings.ContainsAny(s, "#%") }).Draw(t, "path")), Severities: severities.Draw(t, "severities")}
			if rapid.Bool().Draw(t, "token") {
				w.BearerToken = Secret(rapid.StringMatching(`[!-~]{1,9}`).Draw(t, "bearer"))
			}
			return w
		}), 0, 2).Draw(t, "webhooks")
		if len(webhooks) > 0 {
			a.Webhooks = webhooks
		}
		return a
	})
}

// testRecipient is a public key of age.
const testRecipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"

// grants are capabilities of a virtual cluster, or none.
func grants() *rapid.Generator[[]string] {
	return rapid.Custom(func(t *rapid.T) []string {
		var list []string
		for _, name := range pai.GrantableCapabilities() {
			if rapid.Bool().Draw(t, name) {
				list = append(list, name)
			}
		}
		return list
	})
}

// A configuration that is written and loaded is the same.
func TestWriteThenLoadIsSame(t *testing.T) {
	t.Parallel()
	root := inMemory(t)
	rapid.Check(t, func(t *rapid.T) {
		want := anyConfig().Draw(t, "configuration")
		dir, err := os.MkdirTemp(root, "")
		if err != nil {
			t.Fatal(err)
		}
		if err := Write(dir, want); err != nil {
			t.Fatal(err)
		}
		got, err := Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		want.Dir = dir
		if !reflect.DeepEqual(*got, want) {
			t.Fatalf("wrote %+v\nread %+v", want, *got)
		}
		left, err := os.ReadDir(dir)
		if err != nil || len(left) != len(files)+1 { // and the schemas
			t.Fatalf("left in the directory: %v, %v", left, err)
		}
	})
}

// SetVersions changes two values and keeps every other byte.
func TestSetVersionsKeepsEveryOtherByte(t *testing.T) {
	t.Parallel()
	root := inMemory(t)
	rapid.Check(t, func(t *rapid.T) {
		c := anyConfig().Draw(t, "configuration")
		dir, err := os.MkdirTemp(root, "")
		if err != nil {
			t.Fatal(err)
		}
		if err := Write(dir, c); err != nil {
			t.Fatal(err)
		}
		other := anyConfig().Draw(t, "other")
		to := other.Pair()
		if err := SetVersions(dir, to); err != nil {
			t.Fatal(err)
		}
		c.Kubernetes.Version, c.Services.Cluster.Common.Release = to.Kubernetes, pai.Release(to.Services)
		wantRendered(t, dir, c)
	})
}

// wantRendered wants the files of a directory to be those of a configuration.
func wantRendered(t *rapid.T, dir string, c Config) {
	t.Helper()
	for _, name := range FilesOf(c.Layout.SchemaVersion) {
		want, err := render(name, c)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != string(want) {
			t.Fatalf("%s: %v\n%s\nwant\n%s", name, err, got, want)
		}
	}
}

func TestWriteRefusesInvalidConfiguration(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "config")
	err := Write(dir, New("lab", pai.Pair{Services: "v0.10", Kubernetes: "v0.10-pai"}, nil, nil))
	if pai.CodeOf(err) != pai.CodeInvalid || !strings.Contains(err.Error(), "machine-list") {
		t.Errorf("error: %v", err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the directory exists: %v", err)
	}
}

// The files as a new operator reads them.
func TestWrittenFiles(t *testing.T) {
	t.Parallel()
	c := New("local", pai.Pair{Services: "v0.9", Kubernetes: "v0.9-pai"},
		[]Machine{{Hostname: "pai-1", HostIP: "192.168.10.1", KeyfilePath: "/root/key", Role: RoleControlPlane}},
		[]string{"11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="})
	for schema := OldestSchema; schema <= Schema; schema++ {
		c.Layout.SchemaVersion = schema
		for _, name := range FilesOf(schema) {
			got, err := render(name, c)
			if err != nil {
				t.Fatal(err)
			}
			golden.Check(t, filepath.Join("testdata", "written", fmt.Sprintf("schema-%d", schema), name), string(got))
		}
	}
}

func TestSetVersions(t *testing.T) {
	t.Parallel()
	const common = "cluster:\n  common:\n    cluster-id: lab\n    trusted-bundle-keys: [11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=]\n"
	for _, tc := range []struct{ name, services, want, err string }{
		{name: "plain", services: common + "    release: v0.9  # ours\n", want: common + "    release: v0.10  # ours\n"},
		{name: "double quotes", services: common + "    release: \"v0.9\"\n", want: common + "    release: \"v0.10\"\n"},
		{name: "single quotes", services: common + "    release: 'v0.9' # x\n", want: common + "    release: 'v0.10' # x\n"},
		{name: "flow, not ASCII", services: "cluster: {\"common\": {az-rdma: \"ä€😀\", release: v0.9, cluster-id: lab, trusted-bundle-keys: [11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=]}}\n",
			want: "cluster: {\"common\": {az-rdma: \"ä€😀\", release: v0.10, cluster-id: lab, trusted-bundle-keys: [11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=]}}\n"},
		{name: "own anchor", services: common + "    release: &r v0.9\n", want: common + "    release: &r v0.10\n"},
		{name: "tag", services: common + "    release: !!str v0.9\n", want: common + "    release: !!str v0.10\n"},
		{name: "alias", services: "virtual-clusters: {}\nrest-server: {github-path: &r v0.9}\n" + common + "    release: *r\n",
			want: "virtual-clusters: {}\nrest-server: {github-path: &r v0.9}\n" + common + "    release: v0.10\n"},
		{name: "escapes", services: common + "    release: \"v0\\x2e9\"\n", err: "cannot be changed in place"},
		{name: "merged", services: "rest-server: {github-path: &m {release: v0.9}}\n" + common + "    <<: *m\n",
			want: "rest-server: {github-path: &m {release: v0.10}}\n" + common + "    <<: *m\n"},
		{name: "windows", services: strings.ReplaceAll(common, "\n", "\r\n") + "    release: v0.9\r\n", want: strings.ReplaceAll(common, "\n", "\r\n") + "    release: v0.10\r\n"},
		{name: "no newline at the end", services: common + "    release: v0.9", want: common + "    release: v0.10"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := writeGood(t)
			path := filepath.Join(dir, ServicesFile)
			write(t, path, tc.services)
			if err := os.Chmod(path, 0o600); err != nil {
				t.Fatal(err)
			}
			err := SetVersions(dir, pai.Pair{Services: "v0.10"})
			got, readErr := os.ReadFile(path)
			if readErr != nil {
				t.Fatal(readErr)
			}
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) || string(got) != tc.services {
					t.Errorf("error %v, file:\n%s", err, got)
				}
				return
			}
			if err != nil || string(got) != tc.want {
				t.Errorf("%v, got:\n%s\nwant:\n%s", err, got, tc.want)
			}
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("mode %v, %v", info.Mode(), err)
			}
		})
	}
}

// Both files change or neither, and no other file appears.
func TestSetVersionsChangesBothFilesOrNone(t *testing.T) {
	t.Parallel()
	dir := writeGood(t)
	services := "cluster:\n  common:\n    release: v0.9\n    cluster-id: lab\n    trusted-bundle-keys: [11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=]\n"
	write(t, filepath.Join(dir, ServicesFile), services)
	write(t, filepath.Join(dir, KubernetesFile), "schema-version: &two 2\nkubernetes:\n  version: &v v0.9-pai # kept\n")
	if err := SetVersions(dir, pai.Pair{Services: "v0.10", Kubernetes: "v0.10-pai"}); err != nil {
		t.Fatal(err)
	}
	c, err := Load(dir)
	if err != nil || c.Pair() != (pai.Pair{Services: "v0.10", Kubernetes: "v0.10-pai"}) {
		t.Errorf("%v", err)
	}
	before := snapshot(t, dir)
	if err := SetVersions(dir, pai.Pair{Services: "newest", Kubernetes: "v0.11-pai"}); err == nil || !strings.Contains(err.Error(), "not a release") {
		t.Errorf("a version of the wrong form: %v", err)
	}
	if after := snapshot(t, dir); !reflect.DeepEqual(before, after) {
		t.Errorf("a refused change left %v", after)
	}
}

func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	content := map[string]string{}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		content[e.Name()] = string(data)
	}
	return content
}
