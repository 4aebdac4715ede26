package check

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/kube"
)

func serviceChecks() []Check {
	return []Check{{"service-ready", "every service is ready", Upgrade, onAPI(servicesReady)}}
}

// servicesReady evaluates the PAI services and the DNS service of the cluster.
func servicesReady(ctx context.Context, w *world, client *kube.Client) ([]Result, error) {
	current := w.World.Current.Services
	all := []Result{dnsReady(ctx, client)}
	for name, s := range w.World.Services {
		if w.World.Unconfigured.HasService(name) {
			continue // the check service-unconfigured reports it
		}
		if s.Ready {
			all = append(all, okay(name, "ready, release %s", s.Release))
		} else {
			all = append(all, failed(name, "read the logs of its pods; to apply it again, run: "+w.startAgain(name), "not ready: %s", s.Message))
		}
	}
	for _, r := range w.Releases {
		if current == "" || r.Services.Version.Compare(current) != 0 {
			continue
		}
		for _, pin := range r.ServiceList {
			if _, installed := w.World.Services[pin.Name]; !installed {
				all = append(all, warning(pin.Name, "to start it, run: paictl service start "+pin.Name, "stopped"))
			}
		}
	}
	return all, nil
}

// startAgain is the command that applies a service again. While services are older than the
// configuration, as after an upgrade that was abandoned, only all of them are started.
func (w *world) startAgain(name string) string {
	for _, r := range w.Releases {
		if r.Metadata.Name.Compare(w.Config.Release()) == 0 && w.World.Current.Services.Less(r.Services.Version) {
			return "paictl service start"
		}
	}
	return "paictl service start " + name
}

// dnsTarget is the target of the results for CoreDNS.
const dnsTarget = "cluster-dns"

func dnsReady(ctx context.Context, client apiClient) Result {
	d, err := client.Clientset().AppsV1().Deployments("kube-system").Get(ctx, "coredns", metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return failed(dnsTarget, "to install it, run: paictl cluster k8s-bootup", "CoreDNS not found, so pods cannot resolve service names")
	case err != nil:
		return unknown(dnsTarget, fmt.Errorf("read CoreDNS: %w", err))
	}
	return rolledOut(d)
}

func rolledOut(d *appsv1.Deployment) Result {
	wanted := int32(1)
	if d.Spec.Replicas != nil {
		wanted = *d.Spec.Replicas
	}
	const fix = "for the cause, run: kubectl -n kube-system describe deployment coredns"
	text := fmt.Sprintf("%d of %d replicas of CoreDNS are available", d.Status.AvailableReplicas, wanted)
	switch {
	case d.Status.AvailableReplicas == 0:
		return failed(dnsTarget, fix, "%s", text)
	case d.Status.AvailableReplicas < wanted:
		return warning(dnsTarget, fix, "%s", text)
	default:
		return okay(dnsTarget, "%s", text)
	}
}
