package service

import (
	"bytes"
	"compress/gzip"
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
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

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
	about, err := json.Marshal(about{plan.ServiceSpec{Name: s.Name, Prerequisites: s.Prerequisites, Impact: s.JobImpact}, s.WebhookCertificate, s.MetricsLogin})
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
	plan.ServiceSpec
	WebhookCertificate *WebhookCertificate `json:",omitempty"`
	MetricsLogin       bool                `json:",omitempty"`
}

// recorded is the record of one service of one release.
type recorded struct {
	release pai.ServicesVersion
	about   about
	digest  string
	secrets []corev1.Secret
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
