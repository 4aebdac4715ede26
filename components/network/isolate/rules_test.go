package isolate

import (
	"flag"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func addrs(list ...string) []netip.Addr { return addresses(list) }

func everywhere() Policy { return Policy{Networks: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}} }

// someRules are those of a machine with two tasks of one job, one of another job that
// started with an older policy, and two pods of the platform.
func someRules() rules {
	older := Policy{Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.0.0.0/16")}}
	present := everywhere()
	present.Ports = []Port{{To: netip.MustParsePrefix("10.0.0.1/32"), Protocol: "tcp", First: 2049, Last: 2049}, {To: netip.MustParsePrefix("10.0.0.0/28"), Protocol: "udp", First: 9000, Last: 9010}}
	return rules{
		bridge: "pai0", pods: netip.MustParsePrefix("10.244.0.0/16"), services: netip.MustParsePrefix("10.96.0.0/16"), dns: netip.MustParseAddr("10.96.0.10"),
		policy: present, machines: addrs("10.0.0.1", "10.0.0.3"), closed: addrs("10.0.0.1", "10.0.0.3", "10.0.9.3"), platform: addrs("10.244.1.2", "10.244.1.3"),
		tasks: []task{
			{netip.MustParseAddr("10.244.1.5"), "veth5", "5e:00:00:00:00:05", "pai-vc-a/one", present},
			{netip.MustParseAddr("10.244.1.6"), "veth6", "5e:00:00:00:00:06", "pai-vc-a/one", present},
			{netip.MustParseAddr("10.244.1.7"), "veth7", "5e:00:00:00:00:07", "pai-vc-a/two", older},
		},
		// The API shows an address of this machine for a pod that had it before, and
		// addresses that no pod has.
		peers: map[string][]netip.Addr{"pai-vc-a/one": addrs("10.244.1.5", "10.244.2.9", "10.244.1.7", "10.244.1.2", "10.0.0.3"), "pai-vc-b/three": addrs("10.244.3.3")},
	}
}

func TestRules(t *testing.T) {
	t.Parallel()
	empty := rules{bridge: "pai0", pods: netip.MustParsePrefix("10.244.0.0/16"), services: netip.MustParsePrefix("10.96.0.0/16"), dns: netip.MustParseAddr("10.96.0.10")}
	bridged := someRules()
	bridged.bridged = true
	for name, got := range map[string]string{"some": someRules().text(), "bridged": bridged.text(), "empty": empty.text(),
		"connections": someRules().connections(), "connections-empty": empty.connections()} {
		file := "testdata/" + name + ".nft"
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil || got != string(want) {
			t.Errorf("%s: got\n%s\nwant (%v)\n%s", name, got, err, want)
		}
		if _, err := exec.LookPath("nft"); err != nil || os.Geteuid() != 0 {
			continue
		}
		cmd := exec.CommandContext(t.Context(), "unshare", "-n", "sh", "-c", "nft -c -f - && nft -f -")
		cmd.Stdin = strings.NewReader(got)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: nft refuses the rules: %v\n%s", name, err, out)
		}
	}
}

// A task is never a peer of another job, whatever the API says about addresses of this
// machine, and no address but that of a pod is one.
func TestPeersOfThisMachineAreKnownHere(t *testing.T) {
	t.Parallel()
	text := someRules().text()
	for _, want := range []string{
		"\tset tasks0 {\n\t\ttype ipv4_addr\n\t\telements = { 10.244.1.5, 10.244.1.6 }",
		"\tset peers0 {\n\t\ttype ipv4_addr\n\t\telements = { 10.244.1.5, 10.244.1.6, 10.244.2.9 }",
		"\tset peers1 {\n\t\ttype ipv4_addr\n\t\telements = { 10.244.1.7 }",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("got\n%s\nwant %s", text, want)
		}
	}
}

// A running task reaches what it did when it started, and what was added.
func TestTasksKeepTheirPolicy(t *testing.T) {
	t.Parallel()
	text := someRules().text()
	for _, want := range []string{"ip saddr { 10.244.1.7 } ip daddr 192.0.2.0/24 return", "ip daddr 0.0.0.0/0 return", "ct original ip daddr 10.0.0.1/32 ct original proto-dst 2049-2049 accept"} {
		if !strings.Contains(text, want) {
			t.Errorf("got\n%s\nwant %q", text, want)
		}
	}
}
