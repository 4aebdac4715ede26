package check

import (
	"context"
	"fmt"
	"sync"

	admission "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	discovery "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"

	"pai.dev/pai/internal/kube"
)

// webhookBackend is who answers for the webhooks that fail closed of one
// configuration and service.
type webhookBackend struct {
	Configuration string // "ValidatingWebhookConfiguration/x"
	Webhooks      []string
	PAI           bool // PAI applied the configuration
	Service       admission.ServiceReference
	URL           string
	// Ready is how many addresses answer; NoService is set where there is no
	// such service at all.
	Ready     int
	NoService bool
	// Gapless: whoever answers is replaced by starting the next one first.
	Gapless bool
}

// webhooks that fail closed and that nobody answers refuse every write that
// they are asked about, an upgrade's own among them.
func webhooks(ctx context.Context, w *world) []Result {
	if !w.kubernetesRuns() {
		return nil
	}
	client, err := w.api.client.get(ctx)
	if err != nil {
		return []Result{unknown("", err)}
	}
	backends, err := failClosed(ctx, client.Clientset())
	if err != nil {
		return []Result{unknown("", err)}
	}
	all := make([]Result, len(backends))
	var wg sync.WaitGroup
	for i := range backends {
		wg.Go(func() {
			if err := backends[i].look(ctx, client.Clientset()); err != nil {
				all[i] = unknown(backends[i].Configuration, err)
				return
			}
			all[i] = backends[i].judge()
		})
	}
	wg.Wait()
	if len(all) == 0 {
		all = append(all, okay("", "no webhook fails closed"))
	}
	return all
}

// failClosed lists the webhooks that refuse when nobody answers, one entry per
// configuration and service.
func failClosed(ctx context.Context, core kubernetes.Interface) ([]*webhookBackend, error) {
	validating, err := core.AdmissionregistrationV1().ValidatingWebhookConfigurations().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list the validating webhooks: %w", err)
	}
	mutating, err := core.AdmissionregistrationV1().MutatingWebhookConfigurations().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list the mutating webhooks: %w", err)
	}
	var all []*webhookBackend
	add := func(kind string, m metav1.ObjectMeta, name string, policy *admission.FailurePolicyType, c admission.WebhookClientConfig) {
		if policy != nil && *policy == admission.Ignore {
			return
		}
		b := webhookBackend{Configuration: kind + "/" + m.Name, PAI: m.Annotations[kube.AnnotationInventory] != ""}
		if c.Service != nil {
			b.Service = admission.ServiceReference{Namespace: c.Service.Namespace, Name: c.Service.Name}
		} else if c.URL != nil {
			b.URL = *c.URL
		}
		for _, have := range all {
			if have.Configuration == b.Configuration && have.Service == b.Service && have.URL == b.URL {
				have.Webhooks = append(have.Webhooks, name)
				return
			}
		}
		b.Webhooks = []string{name}
		all = append(all, &b)
	}
	for _, c := range validating.Items {
		for _, h := range c.Webhooks {
			add("ValidatingWebhookConfiguration", c.ObjectMeta, h.Name, h.FailurePolicy, h.ClientConfig)
		}
	}
	for _, c := range mutating.Items {
		for _, h := range c.Webhooks {
			add("MutatingWebhookConfiguration", c.ObjectMeta, h.Name, h.FailurePolicy, h.ClientConfig)
		}
	}
	return all, nil
}

// look finds out who answers.
func (b *webhookBackend) look(ctx context.Context, core kubernetes.Interface) error {
	if b.URL != "" {
		return nil
	}
	ns, name := b.Service.Namespace, b.Service.Name
	service, err := core.CoreV1().Services(ns).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		b.NoService = true
		return nil
	}
	if err != nil {
		return fmt.Errorf("read service %s/%s: %w", ns, name, err)
	}
	slices, err := core.DiscoveryV1().EndpointSlices(ns).List(ctx, metav1.ListOptions{LabelSelector: labels.Set{discovery.LabelServiceName: name}.String()})
	if err != nil {
		return fmt.Errorf("list who answers for service %s/%s: %w", ns, name, err)
	}
	b.Ready = ready(slices.Items)
	deployments, err := core.AppsV1().Deployments(ns).List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("list the deployments of %s: %w", ns, err)
	}
	selector := labels.SelectorFromSet(service.Spec.Selector)
	for i := range deployments.Items {
		if d := &deployments.Items[i]; !selector.Empty() && selector.Matches(labels.Set(d.Spec.Template.Labels)) {
			b.Gapless = gapless(d)
		}
	}
	return nil
}

// ready counts the pods that answer. One with two addresses is in two slices.
func ready(list []discovery.EndpointSlice) int {
	seen := map[string]bool{}
	for _, s := range list {
		for _, e := range s.Endpoints {
			if e.Conditions.Ready != nil && !*e.Conditions.Ready {
				continue
			}
			key := fmt.Sprint(e.Addresses)
			if e.TargetRef != nil {
				key = string(e.TargetRef.UID)
			}
			seen[key] = true
		}
	}
	return len(seen)
}

// gapless reports whether a change of the deployment starts the new pod before
// it ends the old one.
func gapless(d *appsv1.Deployment) bool {
	r := d.Spec.Strategy.RollingUpdate
	return r != nil && r.MaxUnavailable != nil && r.MaxUnavailable.IntValue() == 0 && r.MaxUnavailable.StrVal == ""
}

func (b *webhookBackend) judge() Result {
	who := fmt.Sprintf("service %s/%s", b.Service.Namespace, b.Service.Name)
	hooks := fmt.Sprintf("%d webhooks that fail closed (%s …)", len(b.Webhooks), b.Webhooks[0])
	if len(b.Webhooks) == 1 {
		hooks = fmt.Sprintf("webhook %s, which fails closed,", b.Webhooks[0])
	}
	const fix = "let its program run again, with two replicas; if nobody needs it any more, delete the configuration"
	switch {
	case b.URL != "":
		return unknown(b.Configuration, fmt.Errorf("%s asks %s, outside of the cluster", hooks, b.URL))
	case b.NoService:
		return failed(b.Configuration, fix, "%s asks %s, which does not exist: every write that it is asked about is refused", hooks, who)
	case b.Ready == 0:
		return failed(b.Configuration, fix, "%s asks %s, behind which no pod is ready: every write that it is asked about is refused", hooks, who)
	case b.Ready == 1 && b.PAI && b.Gapless:
		return okay(b.Configuration, "%s: one pod answers, and an upgrade starts the next one before it ends", who)
	case b.Ready == 1:
		return warning(b.Configuration, "give it two replicas", "%s asks %s, behind which one pod is ready: without it writes are refused", hooks, who)
	default:
		return okay(b.Configuration, "%s: %d pods answer", who, b.Ready)
	}
}
