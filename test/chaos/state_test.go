package chaos

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"pai.dev/pai/internal/pai"
)

func TestDiff(t *testing.T) {
	t.Parallel()
	was := State{"same": "a", "changed": "one\ntwo", "gone": ""}
	is := State{"same": "a", "changed": "one\n three", "new": ""}
	want := []string{`changed: line 2 was "two", is "three"`, "gone: missing", "new: too many"}
	if got := was.Diff(is); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := was.Diff(was); len(got) != 0 {
		t.Errorf("a state differs from itself: %q", got)
	}
}

// Texts whose keys are the same are all compared, in whatever order they came.
func TestTextsOfOneKey(t *testing.T) {
	t.Parallel()
	a, b, c := State{}, State{}, State{}
	for _, text := range []string{"one", "two", "three"} {
		a.put("images/sha256-<hash>", text)
	}
	for _, text := range []string{"three", "one", "two"} {
		b.put("images/sha256-<hash>", text)
	}
	for _, text := range []string{"three", "one", "four"} {
		c.put("images/sha256-<hash>", text)
	}
	if found := a.Diff(b); len(found) != 0 {
		t.Errorf("the same in another order: %q", found)
	}
	if found := a.Diff(c); len(found) != 1 {
		t.Errorf("one of them is another: %q", found)
	}
}

// What any two clusters differ in is masked, and nothing else.
func TestMasks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"uid: 0a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f", "uid: 1a1b2c3d-0a1b-0a1b-0a1b-0a1b2c3d4e5f", true},
		{"data: " + strings.Repeat("QUJD", 20) + "==\n", "data: " + strings.Repeat("REVG", 30) + "\n", true},
		{strings.Repeat(strings.Repeat("A", 64)+"\n", 3) + "end", strings.Repeat(strings.Repeat("B", 64)+"\n", 4) + "end", true},
		{"-----BEGIN EC PRIVATE KEY-----\nABC\nshort=\n-----END EC PRIVATE KEY-----", "-----BEGIN EC PRIVATE KEY-----\nDEF\nxyz\n-----END EC PRIVATE KEY-----", true},
		{"at 2026-11-22T11:00:00Z", "at 2026-11-23T12:01:02.123Z", true},
		{"at 2026-11-22T23:59:59+01:00", "at 2026-11-23T00:00:00+01:00", true},
		{"kubelet-client-2026-11-22-23-59-59.pem", "kubelet-client-2026-11-23-00-00-01.pem", true},
		{"snapshot-20261122T235959Z.db", "snapshot-20261123T000001Z.db", true},
		{"Sun, 22 Nov 2026 23:59:59 GMT", "Mon, 23 Nov 2026 00:00:01 GMT", true},
		{"Sun Nov 22 23:59:59 UTC 2026", "Mon Nov 23 00:00:01 UTC 2026", true},
		{`"since": "2026-11-22"`, `"since": "2026-11-23"`, true},
		{"kubernetes.io:kube-apiserver-serving:8793319e09cd9fa1734a2e31", "kubernetes.io:kube-apiserver-serving:ca1b94692fef55756a29e5ae", true},
		{"kubernetes.io:kube-apiserver-serving:8793319e09cd9fa1734a2e31", "kubernetes.io:kubelet-serving:8793319e09cd9fa1734a2e31", false},
		{"version 2026-11", "version 2026-12", false},
		{"port 20261", "port 20262", false},
		{`"podCIDR": "10.244.1.0/24"`, `"podCIDR": "10.244.2.0/24"`, true},
		{`"clusterCIDR": "10.244.0.0/16"`, `"clusterCIDR": "10.245.0.0/16"`, false},
		{"image: pai.local/kueue:v0.14.0", "image: pai.local/kueue:v0.15.0", false},
		{"--secure-port=6443", "--secure-port=6444", false},
		{"/opt/pai/v0.9-pai/bin/kubelet", "/opt/pai/v0.10-pai/bin/kubelet", false},
	} {
		if got := maskText(c.a) == maskText(c.b); got != c.same {
			t.Errorf("%q and %q: equal is %v", c.a, c.b, got)
		}
	}
	if maskName("jobset-train-4c2b5") != maskName("jobset-train-kwxzd") || maskName("kube-system") == maskName("kube-public") {
		t.Errorf("names: %q, %q", maskName("jobset-train-1a2b3"), maskName("kube-system"))
	}
}

func TestMaskObject(t *testing.T) {
	t.Parallel()
	mask := func(text string) string {
		var o map[string]any
		if err := json.Unmarshal([]byte(text), &o); err != nil {
			t.Fatal(err)
		}
		masked, err := maskObject(o)
		if err != nil {
			t.Fatal(err)
		}
		return masked
	}
	if a, b := mask(`{"kind": "ConfigMap", "metadata": {"name": "i"}, "data": {"kubeconfig": "k", "jws-kubeconfig-abc123": "s"}}`), mask(`{"kind": "ConfigMap", "metadata": {"name": "i"}, "data": {"kubeconfig": "k"}}`); a != b {
		t.Errorf("a token's signature is compared: %s and %s", a, b)
	}
	secret := mask(`{"kind": "Secret", "metadata": {"name": "a", "uid": "x", "resourceVersion": "1"}, "data": {"key": "c2VjcmV0"}}`)
	if other := mask(`{"kind": "Secret", "metadata": {"name": "a", "uid": "y", "resourceVersion": "2"}, "data": {"key": "b3RoZXI="}}`); other != secret {
		t.Errorf("two secrets alike differ:\n%s\n%s", secret, other)
	}
	if strings.Contains(secret, "c2Vjcm") {
		t.Error("a secret is in the open")
	}
	if mask(`{"kind": "Secret", "metadata": {"name": "a"}, "data": {"another": ""}}`) == secret {
		t.Error("a secret without its key counts as one with it")
	}
	tracked := mask(`{"kind": "ConfigMap", "metadata": {"name": "kube-apiserver-legacy-service-account-token-tracking"}, "data": {"since": "2026-11-22"}}`)
	if other := mask(`{"kind": "ConfigMap", "metadata": {"name": "kube-apiserver-legacy-service-account-token-tracking"}, "data": {"since": "2026-11-23"}}`); other != tracked {
		t.Errorf("got %s and %s, want two clusters made on two days to be the same", tracked, other)
	}
	progress := func(end string) string {
		data, _ := json.Marshal(map[string]any{"kind": "ConfigMap", "data": map[string]string{pai.ProgressKey: `{"to":{"services":"v0.11"},` + end}})
		return mask(string(data))
	}
	ended := progress(`"total":27,"done":27,"outcome":"succeeded","outageSeconds":1.4}`)
	if other := progress(`"total":23,"done":23,"outcome":"succeeded","steps":[{"id":"a"}]}`); other != ended {
		t.Errorf("got %s and %s, want the steps of the last attempt not to show", other, ended)
	}
	for _, end := range []string{`"total":27,"done":27,"outcome":"failed"}`, `"total":27,"done":26,"outcome":"succeeded"}`} {
		if progress(end) == ended {
			t.Errorf("%s does not show", end)
		}
	}
	deployment := mask(`{"kind": "Deployment", "spec": {"replicas": 1}, "status": {"replicas": 1}}`)
	if deployment == mask(`{"kind": "Deployment", "spec": {"replicas": 2}, "status": {"replicas": 1}}`) {
		t.Error("a changed spec does not show")
	}
	if deployment != mask(`{"kind": "Deployment", "spec": {"replicas": 1}, "status": {"replicas": 0}}`) {
		t.Error("a status shows")
	}
}

func TestOfUsers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind, namespace string
		want            bool
	}{{"JobSet", "pai-vc-default", true}, {"LocalQueue", "pai-vc-default", false}, {"ConfigMap", "pai-system", false}, {"Namespace", "", false}} {
		o := map[string]any{"kind": c.kind, "metadata": map[string]any{"namespace": c.namespace}}
		if got := ofUsers(o); got != c.want {
			t.Errorf("%s in %q: %v, want %v", c.kind, c.namespace, got, c.want)
		}
	}
}

// Which slot serves depends on how often one took over, so it does not count;
// that an idle one is left does.
func TestSlotNames(t *testing.T) {
	t.Parallel()
	a, b := slotsInUse("etcd a\napiserver b\n", "pai-1"), slotsInUse("etcd b\napiserver a\n", "pai-1")
	for _, c := range [][2]string{
		{"/opt/pai/role/etcd-a", "/opt/pai/role/etcd-b"}, {"/var/lib/etcd/b", "/var/lib/etcd/a"},
		{"pai-apiserver-a.service", "pai-apiserver-b.service"}, {"--secure-port=6445", "--secure-port=6444"},
		{"--audit-log-path=/var/log/pai/audit-b.log", "--audit-log-path=/var/log/pai/audit-a.log"},
		{"etcd, slot a", "etcd, slot b"}, {"Kubernetes API server, slot a", "Kubernetes API server, slot b"},
	} {
		if a.name(c[0]) != b.name(c[1]) || a.name(c[0]) == a.name(c[1]) {
			t.Errorf("%q is %q, %q is %q", c[0], a.name(c[0]), c[1], b.name(c[1]))
		}
	}
	const inA = "ETCD_INITIAL_CLUSTER=pai-1-b=https://10.9.0.11:2390,pai-1-a=https://10.9.0.11:2380\n--name=pai-1-a \\\n--listen-client-urls=https://127.0.0.1:2379\n--x=pai-1-api\n"
	inB := strings.NewReplacer("pai-1-b=https://10.9.0.11:2390,pai-1-a=https://10.9.0.11:2380", "pai-1-a=https://10.9.0.11:2380,pai-1-b=https://10.9.0.11:2390",
		"=pai-1-a ", "=pai-1-b ", "2379", "2389").Replace(inA)
	if a.nameMembers(inA) != b.nameMembers(inB) {
		t.Errorf("the etcds of the slots differ: %q and %q", a.nameMembers(inA), b.nameMembers(inB))
	}
	other := strings.Replace(inA, "pai-1-b=https://10.9.0.11:2390,pai-1-a=https://10.9.0.11:2380", "pai-1-a=https://10.9.0.11:2380,pai-1-b=https://10.9.0.11:2390", 1)
	if other == inA || a.nameMembers(inA) != a.nameMembers(other) {
		t.Errorf("the order of the members differs: %q and %q", a.nameMembers(inA), a.nameMembers(other))
	}
	if a.nameMembers(inA) == b.nameMembers(inA) || !strings.Contains(a.nameMembers(inA), "--x=pai-1-api") {
		t.Errorf("got %q for the slot in use, %q for the idle one", a.nameMembers(inA), b.nameMembers(inA))
	}
}

func TestStateWithout(t *testing.T) {
	t.Parallel()
	s := State{"pai-1 large of /var/lib/x.db": "", "pai-1 large of /var/lib/x.db.old": ""}
	if got := s.without([]string{"/var/lib/x.db"}); len(got) != 1 || len(s) != 2 || len(s.without(nil)) != 2 {
		t.Errorf("got %v of %v", got, s)
	}
}

func TestWithoutReservations(t *testing.T) {
	t.Parallel()
	const key = "pai-2 file /opt/pai/v0.11-pai/etc/kubelet.yaml"
	waits := State{key: "a: 1\nlogging:\n  format: x\n", "pai-2 unit u": "kubeReserved:"}
	keeps := State{key: "a: 1\nkubeReserved:\n  cpu: 100m\nlogging:\n  format: x\nsystemReserved:\n  cpu: 100m\n", "pai-2 unit u": "kubeReserved:"}
	if got, reserves := waits.withoutReservations("pai-2"); reserves || len(got.Diff(waits)) > 0 {
		t.Errorf("got %v, %v, want what was there", got, reserves)
	}
	got, reserves := keeps.withoutReservations("pai-2")
	if !reserves || len(got.Diff(waits)) > 0 {
		t.Errorf("got %v, %v, want only the reservations to be left out", got.Diff(waits), reserves)
	}
	if got, reserves := keeps.withoutReservations("pai-1"); reserves || len(got.Diff(keeps)) > 0 {
		t.Errorf("got %v, %v, want the file of another machine to stay", got.Diff(keeps), reserves)
	}
	if len(keeps.Diff(waits)) != 1 {
		t.Errorf("got %v, want no change of the original", keeps.Diff(waits))
	}
}

func TestWithoutTasks(t *testing.T) {
	t.Parallel()
	const want = `{"known":{"closed":["10.244.0.1"],"machines":["10.9.0.11"]}}`
	for _, text := range []string{
		`{"known":{"machines":["10.9.0.11"],"closed":["10.244.0.1"],"peers":{"pai-vc-default/a":["10.244.0.19"]}},"policies":{"x":{"networks":["0.0.0.0/0"]}}}`,
		`{"known":{"machines":["10.9.0.11"],"closed":["10.244.0.1"]}}`,
	} {
		if got, err := withoutTasks(text); got != want || err != nil {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
	if got, err := withoutTasks("{"); err == nil {
		t.Errorf("got %q for a file that was cut off", got)
	}
}
