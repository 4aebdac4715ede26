package check

import (
	"context"
	"fmt"

	admission "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	discovery "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"

	"pai.dev/pai/internal/kube"
)

func webhookChecks() []Check {
	return []Check{{"webhooks", "webhooks that fail closed have a ready backend", Upgrade, onAPI(webhooks)}}
}

// webhookBackend is the backend of the webhooks of one configuration that fail
// closed.
type webhookBackend struct {
	Configuration string // "ValidatingWebhookConfiguration/x"
	Webhooks      []string
	PAI           bool // PAI applied the configuration
	Service       admission.ServiceReference
	URL           string
	// Ready is the number of ready pods. NoService is set if the service does not
	// exist.
	Ready     int
	NoService bool
	// Gapless is set if a rollout starts the next pod before it ends the current one.
	Gapless bool
}

// webhooks that fail closed and have no ready backend refuse every write that
// they match, including writes of an upgrade.
func webhooks(ctx context.Context, _ *world, client *kube.Client) ([]Result, error) {
	backends, err := failClosed(ctx, client.Clientset())
	if err != nil {
		return nil, err
	}
	all := parallel(backends, func(b *webhookBackend) Result {
		if err := b.observe(ctx, client.Clientset()); err != nil {
			return unknown(b.Configuration, err)
		}
		return b.evaluate()
	})
	return orOkay(all, "no webhook fails closed"), nil
}

// failClosed lists the webhooks that fail closed, with one entry per configuration
// and backend.
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
		b := webhookBackend{Configuration: kind + "/" + m.Name, Webhooks: []string{name}, PAI: m.Annotations[kube.AnnotationInventory] != ""}
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

// observe finds the ready pods of the backend.
func (b *webhookBackend) observe(ctx context.Context, core kubernetes.Interface) error {
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
		return fmt.Errorf("list the endpoints of service %s/%s: %w", ns, name, err)
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

// ready counts the ready pods. A pod with two addresses is in two slices.
func ready(list []discovery.EndpointSlice) int {
	pods := map[string]bool{}
	for _, s := range list {
		for _, e := range s.Endpoints {
			if e.Conditions.Ready != nil && !*e.Conditions.Ready {
				continue
			}
			key := fmt.Sprint(e.Addresses)
			if e.TargetRef != nil {
				key = string(e.TargetRef.UID)
			}
			pods[key] = true
		}
	}
	return len(pods)
}

// gapless reports whether a rollout of the deployment starts the new pod before it
// ends the old one.
func gapless(d *appsv1.Deployment) bool {
	r := d.Spec.Strategy.RollingUpdate
	return r != nil && r.MaxUnavailable != nil && r.MaxUnavailable.IntValue() == 0 && r.MaxUnavailable.StrVal == ""
}

func (b *webhookBackend) evaluate() Result {
	service := fmt.Sprintf("service %s/%s", b.Service.Namespace, b.Service.Name)
	hooks := fmt.Sprintf("%d webhooks that fail closed (%s …) use", len(b.Webhooks), b.Webhooks[0])
	if len(b.Webhooks) == 1 {
		hooks = fmt.Sprintf("webhook %s, which fails closed, uses", b.Webhooks[0])
	}
	const (
		fix    = "restore the webhook backend with two replicas, or delete the webhook configuration if it is unused"
		effect = "the API server refuses every write that it matches"
	)
	switch {
	case b.URL != "":
		return unknownf(b.Configuration, "%s %s, which is outside the cluster", hooks, b.URL)
	case b.NoService:
		return failed(b.Configuration, fix, "%s %s, which does not exist; %s", hooks, service, effect)
	case b.Ready == 0:
		return failed(b.Configuration, fix, "%s %s, which has no ready pod; %s", hooks, service, effect)
	case b.Ready == 1 && b.PAI && b.Gapless:
		return okay(b.Configuration, "%s: one ready pod, and an upgrade starts the next one before it ends", service)
	case b.Ready == 1:
		return warning(b.Configuration, "run two replicas of the webhook backend", "%s %s, which has one ready pod; without it, %s", hooks, service, effect)
	default:
		return okay(b.Configuration, "%s: %d ready pods", service, b.Ready)
	}
}
