package service

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// listRecorded lists the parts of the records of a service; of all services if
// the name is empty.
func listRecorded(ctx context.Context, client *kube.Client, service string) ([]corev1.Secret, error) {
	selector := recordedLabel
	if service != "" {
		selector += "=" + service
	}
	list, err := client.Clientset().CoreV1().Secrets(pai.SystemNamespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, fmt.Errorf("list the records of services: %w", err)
	}
	return list.Items, nil
}

// record stores what is about to be applied, and deletes the records that are
// older than the previous release.
func (d starter) record(ctx context.Context, client *kube.Client, want wanted, release pai.ServicesVersion) error {
	secrets, err := recordSecrets(want.service, release, want.objs)
	if err != nil {
		return fmt.Errorf("record service %s: %w", want.service.Name, err)
	}
	if err := client.EnsureNamespace(ctx, pai.SystemNamespace); err != nil {
		return err
	}
	have, err := listRecorded(ctx, client, want.service.Name)
	if err != nil {
		return err
	}
	digest := secrets[0].GetAnnotations()[recordedDigest]
	same := func(r recorded) bool { return r.release == release && r.digest == digest }
	if !slices.ContainsFunc(groupRecorded(have), same) {
		if _, err := client.Apply(ctx, secrets, kube.ApplyOptions{}); err != nil {
			return fmt.Errorf("record service %s: %w", want.service.Name, err)
		}
	}
	return deleteRecords(ctx, client, want.service.Name, obsolete(have, release, len(secrets)))
}

func deleteRecords(ctx context.Context, client *kube.Client, service string, parts []corev1.Secret) error {
	for _, s := range parts {
		ref := kube.Ref{Version: "v1", Kind: "Secret", Namespace: s.Namespace, Name: s.Name}
		if err := client.Delete(ctx, ref, s.UID); err != nil {
			return fmt.Errorf("delete an old record of service %s: %w", service, err)
		}
	}
	return nil
}

// obsolete are the parts to delete after a release was recorded in this number
// of parts. The newest of the other releases are kept.
func obsolete(have []corev1.Secret, applied pai.ServicesVersion, parts int) []corev1.Secret {
	release := func(s corev1.Secret) pai.ServicesVersion { return pai.ServicesVersion(s.Annotations[recordedRelease]) }
	var others []pai.ServicesVersion
	for _, s := range have {
		if r := release(s); r != applied && !slices.Contains(others, r) {
			others = append(others, r)
		}
	}
	slices.SortFunc(others, pai.ServicesVersion.Compare)
	kept := others[max(0, len(others)-(recordedReleases-1)):]
	return slices.DeleteFunc(slices.Clone(have), func(s corev1.Secret) bool {
		if release(s) == applied {
			return partOf(s) < parts
		}
		return slices.Contains(kept, release(s))
	})
}

// Recorded returns the services of a release that are recorded in the cluster.
func Recorded(ctx context.Context, client *kube.Client, release pai.ServicesVersion) ([]plan.ServiceSpec, error) {
	all, err := listRecorded(ctx, client, "")
	if err != nil {
		return nil, err
	}
	var services []plan.ServiceSpec
	for _, r := range groupRecorded(all) {
		if r.release == release {
			services = append(services, r.about.ServiceSpec)
		}
	}
	return services, nil
}

// RecordedObjects returns the recorded objects of a release, by service.
func RecordedObjects(ctx context.Context, client *kube.Client, release pai.ServicesVersion) (map[string][]*unstructured.Unstructured, error) {
	all, err := listRecorded(ctx, client, "")
	if err != nil {
		return nil, err
	}
	objects := map[string][]*unstructured.Unstructured{}
	for _, r := range groupRecorded(all) {
		if r.release != release {
			continue
		}
		if objects[r.about.Name], err = r.objects(); err != nil {
			return nil, err
		}
	}
	return objects, nil
}

// previous returns the record that a rollback applies; ok is false if there is
// none.
func (d starter) previous(ctx context.Context, s plan.Step) (w wanted, ok bool, err error) {
	client, err := d.client(ctx)
	if err != nil {
		return wanted{}, false, err
	}
	all, err := listRecorded(ctx, client, s.Target)
	if err != nil {
		return wanted{}, false, err
	}
	for _, r := range groupRecorded(all) {
		if r.release != s.To.Services() {
			continue
		}
		objs, err := r.objects()
		if err != nil {
			return wanted{}, false, err
		}
		hash, err := kube.Hash(objs)
		service := Service{Name: r.about.Name, Prerequisites: r.about.Prerequisites, JobImpact: r.about.Impact, WebhookCertificate: r.about.WebhookCertificate, MetricsLogin: r.about.MetricsLogin}
		return wanted{service, objs, hash}, true, err
	}
	return wanted{}, false, nil
}
