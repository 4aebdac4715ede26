package rest

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"pai.dev/pai/internal/job"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
)

// pendingTimeout is many times the duration of a submission. Texts without a JobSet
// are deleted after it.
const pendingTimeout = time.Hour

// protocolOf returns a job as it was submitted. JobSets of v0.10 and older have the
// text themselves. If the text is missing or empty, the error is that of noConfig.
func (c *Core) protocolOf(ctx context.Context, id JobID, obj *unstructured.Unstructured) ([]byte, error) {
	annotations := obj.GetAnnotations()
	text, name := annotations[job.AnnotationProtocol], annotations[job.AnnotationTexts]
	if text == "" && name != "" {
		texts, err := c.cluster.Clientset().CoreV1().ConfigMaps(obj.GetNamespace()).Get(ctx, name, metav1.GetOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return nil, apiError("read the text of the job", err)
		}
		if err == nil {
			text = texts.Data[job.KeyProtocol]
		}
	}
	if text == "" {
		return nil, noConfig(id)
	}
	return []byte(text), nil
}

// adopt makes the texts of a job belong to its JobSet: they are deleted together.
func (c *Core) adopt(ctx context.Context, set *unstructured.Unstructured) error {
	ref := kube.Ref{Version: "v1", Kind: "ConfigMap", Namespace: set.GetNamespace(), Name: set.GetAnnotations()[job.AnnotationTexts]}
	err := c.cluster.Patch(ctx, ref, merge(map[string]any{"metadata": map[string]any{
		"ownerReferences": []any{map[string]any{
			"apiVersion": set.GetAPIVersion(), "kind": set.GetKind(), "name": set.GetName(), "uid": string(set.GetUID()),
		}},
		"labels": map[string]any{job.LabelPending: nil},
	}}))
	if err != nil {
		return fmt.Errorf("make the texts of job %s belong to it: %w", set.GetName(), err)
	}
	return nil
}

// reconcileTexts completes submissions of servers that were killed: it adopts texts
// with a JobSet and deletes those without one.
func (c *Core) reconcileTexts(ctx context.Context) error {
	var failed []error
	for _, vc := range c.virtualClusters {
		list := c.cluster.Clientset().CoreV1().ConfigMaps(job.Namespace(vc)).List
		err := eachItem(ctx, job.LabelPending, listing(list), func(texts *corev1.ConfigMap) error {
			if err := c.settleTexts(ctx, texts); err != nil {
				failed = append(failed, err) // of one job: the others continue
			}
			return nil
		})
		if err != nil {
			failed = append(failed, fmt.Errorf("list the texts of submissions: %w", err))
		}
	}
	return errors.Join(failed...)
}

func (c *Core) settleTexts(ctx context.Context, texts *corev1.ConfigMap) error {
	sets := c.cluster.Dynamic().Resource(job.JobSets).Namespace(texts.Namespace)
	set, err := sets.Get(ctx, texts.Labels[pai.LabelJob], metav1.GetOptions{})
	switch {
	case err == nil && set.GetAnnotations()[job.AnnotationTexts] == texts.Name:
		return c.adopt(ctx, set)
	case err != nil && !apierrors.IsNotFound(err):
		return fmt.Errorf("read the job of the texts %s: %w", texts.Name, err)
	case c.now().Sub(texts.CreationTimestamp.Time) < pendingTimeout:
		return nil // its submission might be in progress
	}
	return c.deleteTexts(ctx, texts.Namespace, texts)
}

func (c *Core) deleteTexts(ctx context.Context, namespace string, texts metav1.Object) error {
	ref := kube.Ref{Version: "v1", Kind: "ConfigMap", Namespace: namespace, Name: texts.GetName()}
	if err := c.cluster.Delete(ctx, ref, texts.GetUID()); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete the texts %s, which no job uses: %w", texts.GetName(), err)
	}
	return nil
}
