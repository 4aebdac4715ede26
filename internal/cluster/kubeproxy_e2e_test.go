//go:build e2e

package cluster

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/test/kubetest"
)

// TestKubeProxyVersionsFollowEachOther runs the kube-proxy of each release in a network
// namespace, in the order of an upgrade and of its rollback, with the configuration that
// PAI writes. New connections to service addresses work after each change, also to a
// service that was made after it, and an open connection stays.
func TestKubeProxyVersionsFollowEachOther(t *testing.T) {
	p := newProxied(t)
	services := []string{p.addService(t, "first")}
	var open *openConnection
	minors := []string{"1.36", "1.37", "1.36"}
	if os.Getenv("PAI_TEST_ALL") != "" { // only make test-all builds the bundle of v0.9
		minors = []string{"1.35", "1.36", "1.37", "1.36", "1.35"}
	}
	for i, minor := range minors {
		rollback := i > len(minors)/2
		t.Logf("kube-proxy %s, rollback %t", minor, rollback)
		p.replace(t, minor, rollback)
		for _, address := range services {
			p.reach(t, address)
		}
		services = append(services, p.addService(t, fmt.Sprintf("made-%d", i)))
		p.reach(t, services[len(services)-1])
		if open == nil {
			open = p.open(t, services[0])
		}
		open.check(t)
	}
}

const (
	proxyHost    = "10.213.77.1" // outside of the network namespace
	proxyMachine = "10.213.77.2"
)

// proxied is a network namespace in which service addresses work.
type proxied struct {
	namespace, dir, kubeconfig string
	client                     *kube.Client
	backend                    int // the port of a server that returns each line
	running                    *exec.Cmd
}

func newProxied(t *testing.T) *proxied {
	t.Helper()
	p := &proxied{namespace: "pai-test-proxy", dir: t.TempDir()}
	const link = "pai-test-proxy"
	remove := func() { exec.Command("ip", "netns", "delete", p.namespace).Run() } // there may be none
	remove()
	t.Cleanup(remove)
	for _, command := range []string{
		"ip netns add " + p.namespace,
		"ip link add " + link + " type veth peer name eth0 netns " + p.namespace,
		"ip address add " + proxyHost + "/30 dev " + link,
		"ip link set " + link + " up",
		"ip -n " + p.namespace + " link set lo up",
		"ip -n " + p.namespace + " address add " + proxyMachine + "/30 dev eth0",
		"ip -n " + p.namespace + " link set eth0 up",
		"ip -n " + p.namespace + " route add default via " + proxyHost,
	} {
		if out, err := exec.CommandContext(t.Context(), "sh", "-c", command).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
	cluster := kubetest.Start(t)
	p.client = cluster.Client
	api, err := url.Parse(cluster.Config.Host)
	if err != nil {
		t.Fatal(err)
	}
	forwarded := serveTCP(t, func(c net.Conn) {
		server, err := net.Dial("tcp", api.Host)
		if err != nil {
			return
		}
		defer server.Close()
		go io.Copy(server, c)
		io.Copy(c, server)
	})
	p.backend = serveTCP(t, func(c net.Conn) { io.Copy(c, c) })
	p.kubeconfig = filepath.Join(p.dir, "kube-proxy.conf")
	content := strings.Replace(string(cluster.Kubeconfig()), cluster.Config.Host, fmt.Sprintf("https://%s:%d", proxyHost, forwarded), 1)
	if err := os.WriteFile(p.kubeconfig, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	p.apply(t, "{apiVersion: v1, kind: Node, metadata: {name: gpu-01}}")
	patch := fmt.Appendf(nil, `{"status":{"addresses":[{"type":"InternalIP","address":%q}]}}`, proxyMachine)
	if _, err := p.client.Clientset().CoreV1().Nodes().PatchStatus(t.Context(), "gpu-01", patch); err != nil {
		t.Fatal(err)
	}
	return p
}

// serveTCP serves connections from the network namespace until the test ends.
func serveTCP(t *testing.T, handle func(net.Conn)) (port int) {
	t.Helper()
	l, err := net.Listen("tcp", proxyHost+":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				handle(c)
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

func (p *proxied) apply(t *testing.T, text string) {
	t.Helper()
	objs, err := kube.Decode([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.client.Apply(t.Context(), objs, kube.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
}

// addService makes a service of the backend and returns its address.
func (p *proxied) addService(t *testing.T, name string) string {
	t.Helper()
	p.apply(t, fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: %[1]s, namespace: default}
spec: {ports: [{name: lines, port: 80, protocol: TCP}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %[1]s, namespace: default, labels: {kubernetes.io/service-name: %[1]s}}
addressType: IPv4
ports: [{name: lines, port: %[2]d, protocol: TCP}]
endpoints: [{addresses: [%[3]s], conditions: {ready: true}}]
`, name, p.backend, proxyHost))
	s, err := p.client.Clientset().CoreV1().Services("default").Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return s.Spec.ClusterIP
}

// replace does what PAI does: it stops the previous kube-proxy, removes its rules if it is
// newer, and starts the next one.
func (p *proxied) replace(t *testing.T, minor string, rollback bool) {
	t.Helper()
	if p.running != nil {
		p.running.Process.Kill()
		p.running.Wait()
	}
	if rollback {
		if out, err := p.inside(t, "sh", "-c", deleteProxyRules).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	v := pai.KubernetesVersion("v0.11-pai")
	cfg := &config.Config{}
	cfg.Kubernetes.PodClusterIPRange = "192.168.0.0/16"
	files, err := kubeProxyFiles(cfg, config.Machine{Hostname: "gpu-01"}, v)
	if err != nil {
		t.Fatal(err)
	}
	content := strings.ReplaceAll(files[layout.VersionFile(v, layout.KubeProxyConfigName)].content, layout.KubeProxyConf, p.kubeconfig)
	file := filepath.Join(p.dir, "kube-proxy.yaml")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(p.dir, "kube-proxy-"+minor+".log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := p.inside(t, filepath.Join(kubetest.Kubernetes(t, "kube-proxy", minor), "kube-proxy"), "--config="+file)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.running = cmd
	t.Cleanup(func() {
		cmd.Process.Kill() // it may have ended
		cmd.Wait()
		if t.Failed() {
			data, _ := os.ReadFile(log.Name())
			t.Logf("kube-proxy %s:\n%s", minor, data[max(0, len(data)-3000):])
		}
	})
}

func (p *proxied) inside(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	return exec.CommandContext(t.Context(), "ip", append([]string{"netns", "exec", p.namespace}, args...)...)
}

// reach waits until a new connection to a service works.
func (p *proxied) reach(t *testing.T, address string) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		out, err := p.inside(t, "timeout", "2", "bash", "-c", "exec 3<>/dev/tcp/"+address+"/80; echo ping >&3; read -r line <&3; echo $line").CombinedOutput()
		if err == nil && string(out) == "ping\n" {
			return
		}
		if time.Now().After(deadline) {
			rules, _ := p.inside(t, "nft", "list", "ruleset").CombinedOutput()
			t.Fatalf("service %s: no connection within a minute: %v %s\n%s", address, err, out, rules)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// openConnection is a connection to a service.
type openConnection struct {
	in  io.Writer
	out *bufio.Reader
}

func (p *proxied) open(t *testing.T, address string) *openConnection {
	t.Helper()
	cmd := p.inside(t, "bash", "-c", "exec 3<>/dev/tcp/"+address+"/80; while read -r line; do echo $line >&3; read -r -t 20 back <&3 || exit 1; echo $back; done")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	return &openConnection{in, bufio.NewReader(out)}
}

func (o *openConnection) check(t *testing.T) {
	t.Helper()
	if _, err := fmt.Fprintln(o.in, "still"); err != nil {
		t.Fatalf("the open connection: %v", err)
	}
	if line, err := o.out.ReadString('\n'); err != nil || line != "still\n" {
		t.Fatalf("the open connection: got %q, %v", line, err)
	}
}
