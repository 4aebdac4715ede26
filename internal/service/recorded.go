package service

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// The applied objects of a service are recorded in the cluster, so that a
// rollback applies exactly the same ones. They are compressed and stored in
// Secrets, because some are secret and Secrets are encrypted at rest. The API
// limits an object to about one megabyte, so a record has parts.
const (
	recordedLabel      = "pai.dev/recorded-service"
	recordedRelease    = "pai.dev/release"
	recordedPart       = "pai.dev/part"  // 0, 1, …
	recordedParts      = "pai.dev/parts" // how many
	recordedDigest     = "pai.dev/digest"
	recordedAbout      = "pai.dev/about" // the service in the form of the planner
	recordedKey        = "objects.json.gz"
	recordedPartSize   = 512 << 10
	recordedMaxParts   = 16
	recordedMaxContent = 64 << 20 // uncompressed
	recordedReleases   = 2        // kept per service
)

func recordedName(service string, release pai.ServicesVersion, part int) string {
	return fmt.Sprintf("recorded-%s-%s-%d", service, release, part)
}

// packObjects compresses objects; the same objects give the same bytes.
func packObjects(objs []*unstructured.Unstructured) ([]byte, error) {
	contents := make([]map[string]any, len(objs))
	for i, obj := range objs {
		contents[i] = obj.Object
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if err := errors.Join(json.NewEncoder(z).Encode(contents), z.Close()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func unpackObjects(packed []byte) ([]*unstructured.Unstructured, error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(z, recordedMaxContent+1))
	if err != nil {
		return nil, err
	}
	if len(data) > recordedMaxContent {
		return nil, fmt.Errorf("more than %d bytes", recordedMaxContent)
	}
	var contents []json.RawMessage
	if err := json.Unmarshal(data, &contents); err != nil {
		return nil, err
	}
	var objs []*unstructured.Unstructured
	for _, c := range contents {
		obj := &unstructured.Unstructured{}
		if err := obj.UnmarshalJSON(c); err != nil { // keeps whole numbers whole
			return nil, err
		}
		objs = append(objs, obj)
	}
	return objs, nil
}

// recordSecrets are the parts of a record.
func recordSecrets(s Service, release pai.ServicesVersion, objs []*unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	packed, err := packObjects(objs)
	if err != nil {
		return nil, err
	}
	parts := slices.Collect(slices.Chunk(packed, recordedPartSize))
	if len(parts) > recordedMaxParts {
		return nil, fmt.Errorf("the compressed objects have %d bytes, the limit is %d", len(packed), recordedMaxParts*recordedPartSize)
	}
	about, err := json.Marshal(about{plan.Service{Name: s.Name, Prerequisites: s.Prerequisites, Impact: s.JobImpact}, s.WebhookCertificate})
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(packed)
	var secrets []*unstructured.Unstructured
	for i, part := range parts {
		secrets = append(secrets, &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "Secret", "type": "pai.dev/recorded-service",
			"metadata": map[string]any{
				"name": recordedName(s.Name, release, i), "namespace": pai.SystemNamespace,
				"labels": map[string]any{recordedLabel: s.Name},
				"annotations": map[string]any{
					recordedRelease: string(release), recordedDigest: hex.EncodeToString(sum[:]), recordedAbout: string(about),
					recordedPart: strconv.Itoa(i), recordedParts: strconv.Itoa(len(parts)),
				},
			},
			"data": map[string]any{recordedKey: base64.StdEncoding.EncodeToString(part)},
		}})
	}
	return secrets, nil
}

// about describes the service of a record.
type about struct {
	plan.Service
	WebhookCertificate *WebhookCertificate `json:",omitempty"`
}

// recorded is the record of one service of one release.
type recorded struct {
	release pai.ServicesVersion
	about   about
	digest  string
	secrets []corev1.Secret
}

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

// groupRecorded joins parts into records, oldest release first. It ignores
// records that lack a part: they were interrupted.
func groupRecorded(secrets []corev1.Secret) []recorded {
	type key struct {
		service, release, digest string
	}
	byKey := map[key]*recorded{}
	for _, s := range secrets {
		a := s.Annotations
		k := key{s.Labels[recordedLabel], a[recordedRelease], a[recordedDigest]}
		r := byKey[k]
		if r == nil {
			r = &recorded{release: pai.ServicesVersion(k.release), digest: k.digest}
			byKey[k] = r
		}
		r.secrets = append(r.secrets, s)
	}
	var all []recorded
	for k, r := range byKey {
		parts, err := strconv.Atoi(r.secrets[0].Annotations[recordedParts])
		if err != nil || parts != len(r.secrets) || json.Unmarshal([]byte(r.secrets[0].Annotations[recordedAbout]), &r.about) != nil || r.about.Name != k.service {
			continue
		}
		slices.SortFunc(r.secrets, func(a, b corev1.Secret) int { return partOf(a) - partOf(b) })
		all = append(all, *r)
	}
	slices.SortFunc(all, func(a, b recorded) int { return a.release.Compare(b.release) })
	return all
}

func partOf(s corev1.Secret) int {
	n, err := strconv.Atoi(s.Annotations[recordedPart])
	if err != nil {
		return -1
	}
	return n
}

// objects verifies and unpacks a record.
func (r recorded) objects() ([]*unstructured.Unstructured, error) {
	var packed []byte
	for _, s := range r.secrets {
		packed = append(packed, s.Data[recordedKey]...)
	}
	if sum := sha256.Sum256(packed); hex.EncodeToString(sum[:]) != r.digest {
		return nil, fmt.Errorf("the record of service %s of release %s is damaged", r.about.Name, r.release)
	}
	objs, err := unpackObjects(packed)
	if err != nil {
		return nil, fmt.Errorf("unpack the record of service %s of release %s: %w", r.about.Name, r.release, err)
	}
	return objs, nil
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
func Recorded(ctx context.Context, client *kube.Client, release pai.ServicesVersion) ([]plan.Service, error) {
	all, err := listRecorded(ctx, client, "")
	if err != nil {
		return nil, err
	}
	var services []plan.Service
	for _, r := range groupRecorded(all) {
		if r.release == release {
			services = append(services, r.about.Service)
		}
	}
	return services, nil
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
		service := Service{Name: r.about.Name, Prerequisites: r.about.Prerequisites, JobImpact: r.about.Impact, WebhookCertificate: r.about.WebhookCertificate}
		return wanted{service, objs, hash}, true, err
	}
	return wanted{}, false, nil
}
