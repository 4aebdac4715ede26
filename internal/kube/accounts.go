package kube

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"pai.dev/pai/internal/poll"
)

const (
	// accountTimeout is the time for pods that were replaced to end: longer than any
	// service of PAI drains.
	accountTimeout = 2 * time.Minute
	// endMargin is how long after its last moment a pod counts as running: its kubelet
	// has another clock.
	endMargin = 10 * time.Second
)

// awaitUnused waits until no pod uses the accounts among these objects. A server that was
// replaced still answers while it drains: without its account, its last answers would be
// failures.
func (c *Client) awaitUnused(ctx context.Context, unwanted []Ref) error {
	for _, r := range unwanted {
		if r.Kind != "ServiceAccount" || r.Group != "" {
			continue
		}
		var left string
		wait := poll.Wait{For: "the end of the pods with the obsolete account " + r.Namespace + "/" + r.Name, Timeout: accountTimeout, Every: pollEvery}
		err := wait.Until(ctx, func(ctx context.Context) (bool, error) {
			used, err := usersOf(ctx, c.clientset, r, time.Now())
			if err != nil {
				return false, err
			}
			if len(used) > 0 && used[0] != left {
				left = used[0]
				c.progress("waiting for pod %s/%s, which has the obsolete account %s, to end", r.Namespace, left, r.Name)
			}
			if len(used) > 0 {
				return false, fmt.Errorf("still running: %v", used)
			}
			return true, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// usersOf are the names of the pods that act as an account. A pod that should have ended
// by now does not count: its machine is not responding, and nothing reaches it.
func usersOf(ctx context.Context, client kubernetes.Interface, account Ref, now time.Time) (names []string, err error) {
	list, err := client.CoreV1().Pods(account.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list the pods of %s: %w", account.Namespace, err)
	}
	for i := range list.Items {
		p := &list.Items[i]
		ended := p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed ||
			p.DeletionTimestamp != nil && now.After(p.DeletionTimestamp.Add(endMargin))
		if p.Spec.ServiceAccountName == account.Name && !ended {
			names = append(names, p.Name)
		}
	}
	return names, nil
}
