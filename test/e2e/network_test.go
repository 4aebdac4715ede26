//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"time"
)

func (o *operator) apply(manifest string) {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := o.try(ctx, strings.NewReader(manifest), "machine", "shell", "pai-1", "--",
		"KUBECONFIG=/etc/kubernetes/admin.conf /opt/pai/role/kubelet/bin/kubectl apply -f -")
	if err != nil {
		o.t.Fatalf("%v\n%s", err, out)
	}
}

// checkNetwork has a pod on each machine ask the pods of both, by address and
// by the name of the service. Each try reads everything again: after a restart
// the API shows the pods as they were until the kubelets have reported.
func (o *operator) checkNetwork() {
	o.t.Helper()
	o.eventually(3*time.Minute, "pods of both machines reach each other and the service", func() (bool, string) {
		list, err := o.tryKubectl("-n network-test get pods -o jsonpath='{range .items[*]}{.metadata.name} {.status.podIP}{\"\\n\"}{end}'")
		if err != nil {
			return false, err.Error()
		}
		fields := strings.Fields(list)
		if len(fields) != 4 {
			return false, "two pods with an address each are wanted: " + list
		}
		targets := []string{fields[1], fields[3], "echo.network-test.svc.cluster.local"}
		for _, pod := range []string{fields[0], fields[2]} {
			for _, target := range targets {
				out, err := o.tryKubectl("-n network-test exec " + pod + " -- sh -c 'echo hello | nc -w 3 " + target + " 8080'")
				if err != nil || !strings.Contains(out, "hello from") {
					return false, fmt.Sprintf("%s asks %s: %q, %v", pod, target, out, err)
				}
			}
		}
		return true, ""
	})
}

func (o *operator) tryKubectl(args string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return o.try(ctx, nil, "machine", "shell", "pai-1", "--",
		"KUBECONFIG=/etc/kubernetes/admin.conf /opt/pai/role/kubelet/bin/kubectl "+args)
}
