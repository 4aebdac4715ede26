package isolate

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// cniFile is what libcni of containerd stores, as it was on a machine.
func cniFile(id, namespace, address, port, annotations string) string {
	return fmt.Sprintf(`{"kind":"cniCacheV1","containerId":%q,"config":"e30=","ifName":"eth0","networkName":"pai","netns":"/var/run/netns/cni-%s",
"cniArgs":[["K8S_POD_INFRA_CONTAINER_ID",%q],["K8S_POD_UID","f3"],["IgnoreUnknown","1"],["K8S_POD_NAMESPACE",%q],["K8S_POD_NAME","task"]],
"capabilityArgs":{"io.kubernetes.cri.pod-annotations":{%s},"dns":{"Servers":["10.96.0.10"]}},
"result":{"cniVersion":"1.0.0","dns":{},"interfaces":[{"mac":"2e:4f:9c:8a:11:22","name":"pai0"},{"mac":"7a:4f:9c:8a:11:33","name":%q},
{"mac":"5E:4F:9c:8a:11:44","name":"eth0","sandbox":"/var/run/netns/cni-%s"}],"ips":[{"address":%q,"gateway":"10.244.1.1","interface":2}],"routes":[{"dst":"0.0.0.0/0"}]}}`,
		id, id, id, namespace, annotations, port, id, address)
}

func TestReadPod(t *testing.T) {
	t.Parallel()
	const task = `"pai.dev/network":"j-1","pai.dev/job-name":"train"`
	good := cniFile("a1", "pai-vc-default", "10.244.1.5/24", "veth1a2b3c4d", task)
	p, err := readPod([]byte(good), "pai0")
	if err != nil || p.job != "pai-vc-default/j-1" || p.address.String() != "10.244.1.5" || p.port != "veth1a2b3c4d" || p.mac != "5E:4F:9c:8a:11:44" || p.id != "a1" {
		t.Errorf("got %+v, %v", p, err)
	}
	for name, c := range map[string]struct {
		text string
		job  string
		ok   bool
	}{
		"a task of a job of v0.10":          {cniFile("a", "pai-vc-default", "10.244.1.5/24", "veth1", `"pai.dev/job-name":"train"`), "", true},
		"a task without annotations":        {strings.Replace(good, `"io.kubernetes.cri.pod-annotations"`, `"other"`, 1), "", true},
		"a pod of the platform":             {cniFile("a", "pai-system", "10.244.1.5/24", "veth1", ""), "", true},
		"the annotation on another pod":     {cniFile("a", "kube-system", "10.244.1.5/24", "veth1", task), "", true},
		"a job with another name":           {cniFile("a", "pai-vc-default", "10.244.1.5/24", "veth1", `"pai.dev/network":"a b"`), "", false},
		"a port that is none":               {cniFile("a", "pai-vc-default", "10.244.1.5/24", `veth1" accept`, task), "", false},
		"no address":                        {strings.Replace(good, `"10.244.1.5/24"`, `""`, 1), "", false},
		"an address of IPv6":                {cniFile("a", "pai-vc-default", "fd00::5/64", "veth1", task), "", false},
		"no namespace":                      {strings.Replace(good, "K8S_POD_NAMESPACE", "X", 1), "", false},
		"no MAC address":                    {strings.Replace(good, "5E:4F:9c:8a:11:44", "", 1), "", false},
		"a file that is being written":      {good[:len(good)/2], "", false},
		"a number instead of an annotation": {cniFile("a", "pai-vc-default", "10.244.1.5/24", "veth1", `"x":5`), "", false},
		"an address without its interface":  {strings.Replace(good, `,"interface":2`, "", 1), "", false},
		"an interface that does not exist":  {strings.Replace(good, `"interface":2`, `"interface":7`, 1), "", false},
	} {
		if p, err := readPod([]byte(c.text), "pai0"); (err == nil) != c.ok || err == nil && p.job != c.job {
			t.Errorf("%s: got %+v, %v", name, p, err)
		}
	}
}

func TestPodsAreReadOnceAndAgainWhenTheyChange(t *testing.T) {
	t.Parallel()
	dir, gone := t.TempDir(), map[string]bool{}
	f := podFiles{dir: filepath.Join(dir, "results"), bridge: "pai0", exists: func(path string) bool { return !gone[path] }}
	want := func(step string, force bool, want string) {
		t.Helper()
		pods, changed, err := f.list(force)
		got := "unchanged"
		if changed {
			got = ""
			for _, p := range pods {
				got += p.address.String() + " "
			}
		}
		if err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", step, got, err, want)
		}
	}
	settle := func() { // the directory did not change just now
		old := time.Now().Add(-time.Minute)
		if err := os.Chtimes(f.dir, old, old); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(f.dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(f.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want("before the first pod", false, "")
	write("pai-a-eth0", cniFile("a", "pai-system", "10.244.1.5/24", "veth1", ""))
	write("other-b-eth0", cniFile("b", "pai-system", "10.244.1.6/24", "veth2", ""))
	write("pai-b-lo", "{}")
	ahead := time.Now().Add(time.Hour) // as if it had changed just now, however busy the host is
	if err := os.Chtimes(f.dir, ahead, ahead); err != nil {
		t.Fatal(err)
	}
	want("the first pod", false, "10.244.1.5 ")
	want("a change within one tick of the clock can follow", false, "10.244.1.5 ")
	settle()
	want("after the last change", false, "10.244.1.5 ")
	want("without a change", false, "unchanged")
	write("pai-c-eth0", "{")
	settle()
	os.Chtimes(f.dir, time.Now().Add(-time.Hour), time.Now().Add(-time.Hour))
	want("a file that is being written", false, "10.244.1.5 ")
	write("pai-c-eth0", cniFile("c", "pai-vc-x", "10.244.1.7/24", "veth3", ""))
	want("the complete file", false, "10.244.1.5 10.244.1.7 ")
	gone["/var/run/netns/cni-a"] = true
	want("a pod from before a reboot", true, "10.244.1.7 ")
	if err := os.Remove(filepath.Join(f.dir, "pai-c-eth0")); err != nil {
		t.Fatal(err)
	}
	want("a pod that ended", false, "")
}
