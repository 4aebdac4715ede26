//go:build e2e

package e2e

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// echoPort is where tasks of this test listen, and streamPort where one keeps a
// connection open.
const echoPort, streamPort = 7000, 7001

// TestJobsAreApart tries from a task what it reaches: its job, DNS, and the outside,
// and neither other jobs nor the machines, on its own machine and on another one. The
// rules and an open connection stay while the network program is replaced, and come back
// after all rules were removed.
func TestJobsAreApart(t *testing.T) {
	o := newOperator(t, "apart")
	o.buildBundle(newer)
	o.run(10*time.Minute, "up", "--yes", "--machines", "2")
	// Rights to send with addresses of others.
	o.editServices("virtual-clusters:\n  default: {}", "virtual-clusters:\n  default:\n    capabilities: [NET_ADMIN, NET_RAW]")
	o.run(5*time.Minute, "service", "start", "kueue", "rest-server", "--yes")
	o.loadRootImage()
	o.listens("one", 2)
	o.listens("two", 2)
	ours, others := o.podsOf("one"), o.podsOf("two")
	outside := o.outside()
	o.part("what a task reaches", func(o *operator) { o.wantApart(ours, others, outside) })
	o.part("metrics need a login", (*operator).wantLogins)
	o.part("a task cannot take an address", func(o *operator) {
		o.inTask(ours[0].name, "ip addr add "+others[0].ip+"/32 dev eth0")
		if out, err := o.tryInTask(ours[0].name, fmt.Sprintf("nc -w 3 -s %s %s %d </dev/null", others[0].ip, ours[1].ip, echoPort)); err == nil {
			o.t.Errorf("a task sends with the address of another one: %s", out)
		}
		o.inTask(ours[0].name, "ip addr del "+others[0].ip+"/32 dev eth0")
	})
	o.inTask(ours[1].name, fmt.Sprintf("( (sleep 3600 | nc -l -p %d >/tmp/stream 2>/dev/null) & ) </dev/null >/dev/null 2>&1; sleep 1", streamPort))
	o.inTask(ours[0].name, fmt.Sprintf("( ( (while echo x; do sleep 1; done) | nc %s %d) & ) </dev/null >/dev/null 2>&1", ours[1].ip, streamPort))
	o.wantStream(ours[1].name)
	for _, m := range o.machines() {
		o.part("the network program of "+m+" is replaced", func(o *operator) {
			o.on(m, "systemctl restart pai-network")
			o.wantApart(ours, others, outside)
			o.wantStream(ours[1].name)
		})
		o.part("all rules of "+m+" are removed", func(o *operator) {
			o.on(m, "nft flush ruleset")
			o.eventually(time.Minute, "the rules of tasks are back", func() (bool, string) {
				out := o.on(m, "nft list tables")
				return strings.Contains(out, "inet pai-tasks") && strings.Contains(out, "bridge pai-tasks") && strings.Contains(out, "ip flannel-ipv4"), out
			})
			o.eventually(30*time.Second, "service addresses work again", func() (bool, string) {
				out := o.on(m, "nft list tables")
				return strings.Contains(out, "ip kube-proxy"), out
			})
			o.wantApart(ours, others, outside)
			o.wantStream(ours[1].name)
		})
	}
	o.part("a job that was submitted later", func(o *operator) {
		o.listens("three", 2)
		o.wantApart(o.podsOf("three"), ours, outside)
	})
}

// taskPod is the pod of a task.
type taskPod struct{ name, ip, machine, machineIP string }

// listens submits a job whose tasks answer at echoPort.
func (o *operator) listens(name string, tasks int) {
	o.t.Helper()
	o.submitRole(oneRole{name, "test/root:v1", tasks, 0.1, 64, fmt.Sprintf("while true; do echo hello from $(hostname) | nc -l -p %d; done", echoPort)})
	o.eventually(time.Minute, "the tasks of "+name+" run", func() (bool, string) {
		found := o.containersOf(name)
		return len(found) == tasks, fmt.Sprint(found)
	})
}

func (o *operator) podsOf(job string) []taskPod {
	o.t.Helper()
	var pods []taskPod
	out := o.kubectl("get pods -n pai-vc-default -o jsonpath='{range .items[*]}{.metadata.annotations.pai\\.dev/job-name} {.metadata.name} {.status.podIP} {.spec.nodeName} {.status.hostIP}{\"\\n\"}{end}'")
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) == 5 && f[0] == job {
			pods = append(pods, taskPod{f[1], f[2], f[3], f[4]})
		}
	}
	if len(pods) < 2 {
		o.t.Fatalf("job %s has too few tasks: %s", job, out)
	}
	return pods
}

func (o *operator) tryInTask(pod, script string) (string, error) {
	return o.tryKubectl("-n pai-vc-default exec " + pod + " -- sh -c '" + script + "'")
}

func (o *operator) inTask(pod, script string) string {
	o.t.Helper()
	out, err := o.tryInTask(pod, script)
	if err != nil {
		o.t.Fatalf("%s in %s: %v\n%s", script, pod, err, out)
	}
	return out
}

// outside is an address of this host, which is no machine of the cluster, where a
// server answers.
func (o *operator) outside() string {
	o.t.Helper()
	machine := o.kubectl("get nodes -o jsonpath='{.items[0].status.addresses[?(@.type==\"InternalIP\")].address}'")
	host := strings.TrimSpace(machine[:strings.LastIndex(machine, ".")]) + ".1"
	l, err := net.Listen("tcp", net.JoinHostPort(host, fmt.Sprint(echoPort)))
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprintln(c, "hello from outside")
			c.Close()
		}
	}()
	return host
}

// wantApart tries what each task of a job reaches.
func (o *operator) wantApart(ours, others []taskPod, outside string) {
	o.t.Helper()
	type target struct {
		what, address string
		port          int
	}
	allowed := []target{{"the outside", outside, echoPort}}
	var denied []target
	for _, p := range ours {
		allowed = append(allowed, target{"a task of its job on " + p.machine, p.ip, echoPort})
		for what, port := range map[string]int{"ssh": 22, "kubelet": 10250, "API": 6443, "etcd": 2379, "node exporter": 9100, "Prometheus": 9091, "REST server": 9186, "etcd of the other slot": 2389} {
			denied = append(denied, target{what + " of " + p.machine, p.machineIP, port})
		}
	}
	for _, p := range others {
		denied = append(denied, target{"another job on " + p.machine, p.ip, echoPort})
	}
	denied = append(denied, target{"metadata", "169.254.169.254", 80})
	service := func(name, namespace string) string {
		return o.kubectl("-n " + namespace + " get service " + name + " -o jsonpath={.spec.clusterIP}")
	}
	denied = append(denied, target{"the API", service("kubernetes", "default"), 443}, target{"the REST server", service("rest-server", "pai-system"), 443})
	for _, p := range ours {
		var script strings.Builder
		for i, d := range denied {
			fmt.Fprintf(&script, "(nc -w 3 %s %d </dev/null >/dev/null 2>&1 && echo reached %d.) & ", d.address, d.port, i)
		}
		out := o.inTask(p.name, script.String()+"wait; echo tried")
		if !strings.Contains(out, "tried") {
			o.t.Errorf("%s tried nothing: %s", p.name, out)
		}
		for i, d := range denied {
			if strings.Contains(out, fmt.Sprintf("reached %d.", i)) {
				o.t.Errorf("a task on %s reaches %s (%s:%d)", p.machine, d.what, d.address, d.port)
			}
		}
		for _, a := range allowed {
			o.eventually(20*time.Second, fmt.Sprintf("a task on %s reaches %s (%s:%d)", p.machine, a.what, a.address, a.port), func() (bool, string) {
				out, err := o.tryInTask(p.name, fmt.Sprintf("nc -w 3 %s %d </dev/null", a.address, a.port))
				return err == nil && strings.Contains(out, "hello"), fmt.Sprint(out, err)
			})
		}
		o.eventually(20*time.Second, "DNS answers a task on "+p.machine, func() (bool, string) {
			out, err := o.tryInTask(p.name, "nslookup kube-dns.kube-system.svc.cluster.local")
			return err == nil, fmt.Sprint(out, err)
		})
	}
}

// wantLogins wants a login to all metrics that machines show, and Prometheus to have its.
func (o *operator) wantLogins() {
	o.t.Helper()
	machine := strings.TrimSpace(o.kubectl("get nodes -o jsonpath={.items[0].status.addresses[0].address}"))
	for url, user := range map[string]string{"http://" + machine + ":9091/metrics": "reader", "https://" + machine + ":9100/metrics": "scrape", "https://" + machine + ":9186/metrics": "scrape"} {
		const ask = "curl -sk -m 5 -o /dev/null -w '%{http_code} ' "
		if got := strings.TrimSpace(o.on("pai-1", metricsPassword(user)+ask+url+"; "+ask+"-u "+user+":$PASSWORD "+url)); got != "401 200" {
			o.t.Errorf("%s: got %s without a login and with it, want 401 200", url, got)
		}
	}
	jobs := []string{"prometheus", "node-exporter", "rest-server", "kube-state-metrics", "kueue"}
	o.eventually(2*time.Minute, "Prometheus reads all metrics", func() (bool, string) {
		out := o.on("pai-1", metricsPassword("reader")+"curl -s -u reader:$PASSWORD 'http://"+machine+":9091/api/v1/query?query=up'")
		for _, job := range jobs {
			if _, after, found := strings.Cut(out, `"job":"`+job+`"`); !found || !strings.Contains(after[:min(len(after), 120)], `"1"]`) {
				return false, job + " in " + out
			}
		}
		return true, ""
	})
}

// wantStream wants that an open connection still brings something.
func (o *operator) wantStream(pod string) {
	o.t.Helper()
	size := func() string { return strings.TrimSpace(o.inTask(pod, "wc -c </tmp/stream")) }
	before := size()
	o.eventually(20*time.Second, "the open connection brings more than "+before+" bytes", func() (bool, string) {
		now := size()
		return now != before && now != "0", now
	})
}
