//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// receivedAlert is one alert of a message of Alertmanager.
type receivedAlert struct {
	Status              string
	Labels, Annotations map[string]string
}

// alertReceiver is a server on this host that gets alerts.
type alertReceiver struct {
	mu  sync.Mutex
	got []receivedAlert
	url string
}

func (r *alertReceiver) ServeHTTP(_ http.ResponseWriter, q *http.Request) {
	var message struct{ Alerts []receivedAlert }
	if err := json.NewDecoder(q.Body).Decode(&message); err != nil || q.URL.Query().Get("key") != "hunter2" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, message.Alerts...)
}

// alerts are those that were received, by name.
func (r *alertReceiver) alerts(name string) []receivedAlert {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []receivedAlert
	for _, a := range r.got {
		if a.Labels["alertname"] == name {
			list = append(list, a)
		}
	}
	return list
}

// receiver starts a receiver at the address of this host that machines reach.
func (o *operator) receiver() *alertReceiver {
	o.t.Helper()
	machine := o.kubectl("get nodes -o jsonpath='{.items[0].status.addresses[?(@.type==\"InternalIP\")].address}'")
	l, err := net.Listen("tcp", net.JoinHostPort(strings.TrimSpace(machine[:strings.LastIndex(machine, ".")])+".1", "0"))
	if err != nil {
		o.t.Fatal(err)
	}
	r := &alertReceiver{url: "http://" + l.Addr().String() + "/alerts?key=hunter2"}
	server := &http.Server{Handler: r, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(l) }()
	o.t.Cleanup(func() { _ = server.Close() })
	return r
}

// TestAlertsReachAReceiver: a cluster without receivers has no Alertmanager. With a webhook,
// the alert of a rule arrives and names its job and its user, the secret is in a Secret only,
// and an operation holds back nothing about jobs. Without the webhook, Alertmanager was deleted.
func TestAlertsReachAReceiver(t *testing.T) {
	inTestAll(t, "five minutes or more on another cluster")
	o := newOperator(t, "alerts")
	o.buildBundle(newer)
	o.run(10*time.Minute, "up", "--yes")
	if got := o.kubectl("-n pai-system get deployments -o name"); strings.Contains(got, "alertmanager") {
		t.Errorf("got %s without a receiver", got)
	}
	r := o.receiver()
	o.editServices(`(?m)^prometheus:\n`, fmt.Sprintf("alert-manager:\n  webhook-configs:\n    test: {url: %q, severities: [critical, warning, info]}\nprometheus:\n", r.url))
	o.run(time.Minute, "config", "push", "-m", "a receiver")
	if out := o.run(10*time.Minute, "service", "refresh", "--yes"); strings.Contains(out, "hunter2") {
		t.Errorf("the secret is shown:\n%s", out)
	}
	if got := o.kubectl("get configmaps -A -o yaml"); strings.Contains(got, "hunter2") {
		t.Error("the secret is in a config map")
	}
	o.taskThatDoesNotStart()
	o.eventually(8*time.Minute, "the alert of a task arrives and names its job", func() (bool, string) {
		list := r.alerts("TasksDoNotStart")
		if len(list) == 0 {
			return false, "no alert"
		}
		a := list[0]
		return strings.Contains(a.Labels["job_name"], "nothing") && a.Labels["user"] != "" && a.Labels["cluster"] == "local" && a.Annotations["summary"] != "", fmt.Sprint(a)
	})
	if got := r.alerts("OperationRuns"); len(got) > 0 {
		t.Errorf("got %v, which is not sent", got)
	}
	if got := o.on("pai-1", "ls /run/pai/metrics"); strings.Contains(got, "operation.prom") {
		t.Error("the window of the operation is open after its end")
	}
	o.editServices(`(?m)^alert-manager:\n(  .*\n)*`, "")
	o.run(time.Minute, "config", "push", "-m", "no receiver")
	o.run(10*time.Minute, "service", "refresh", "--yes")
	if got := o.kubectl("-n pai-system get deployments,secrets,services,configmaps -o name"); strings.Contains(got, "alertmanager-receivers") || strings.Contains(got, "deployment.apps/alertmanager") {
		t.Errorf("got %s without a receiver", got)
	}
}

// taskThatDoesNotStart submits a job whose image no machine has, and makes the rule about it
// alert within minutes. The rule of the release waits half an hour.
func (o *operator) taskThatDoesNotStart() {
	o.t.Helper()
	file := filepath.Join(o.t.TempDir(), "nothing.yaml")
	text := `protocolVersion: 2
name: nothing
type: job
prerequisites:
  - {name: missing, type: dockerimage, uri: "registry.invalid/missing:v1"}
taskRoles:
  worker:
    instances: 1
    dockerImage: missing
    resourcePerInstance: {cpu: 0.1, memoryMB: 64, gpu: 0}
    commands: ["true"]
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		o.t.Fatal(err)
	}
	o.run(time.Minute, "job", "submit", file)
	o.on("pai-1", kubectl+"-n pai-system get configmap prometheus-rules -o yaml | sed -e 's/ > 1800)/ > 5)/' -e 's/for: 5m/for: 10s/' | "+kubectl+"replace -f -")
	o.kubectl("-n pai-system rollout restart deployment/prometheus")
}
