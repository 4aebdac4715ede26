package kube

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"pai.dev/pai/internal/poll"
)

const (
	// accountTimeout is the time for pods that were replaced to end: longer than any
	// service of PAI drains.
	accountTimeout = 2 * time.Minute
	// endMargin is how long after its grace period a pod counts as running: its kubelet
	// learns later of its end, and reports later that it has ended.
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
		users := users{account: r, since: map[types.UID]time.Time{}}
		wait := poll.Wait{For: "the end of the pods with the obsolete account " + r.Namespace + "/" + r.Name, Timeout: accountTimeout, Every: afterWatch}
		err := wait.Until(ctx, func(ctx context.Context) (bool, error) {
			used, version, err := users.names(ctx, c.clientset, time.Now())
			if err != nil {
				return false, err
			}
			if len(used) > 0 && used[0] != left {
				left = used[0]
				c.progress("waiting for pod %s/%s, which has the obsolete account %s, to end", r.Namespace, left, r.Name)
			}
			if len(used) == 0 {
				return true, nil
			}
			c.awaitEnded(ctx, users, used, version)
			return false, fmt.Errorf("still running: %v", used)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// users are the pods that act as an account.
type users struct {
	account Ref
	// since is when this process first saw that a pod is to end. Clocks of two hosts are
	// never compared.
	since map[types.UID]time.Time
}

// names are the names of the pods, in the list of this version.
func (u users) names(ctx context.Context, client kubernetes.Interface, now time.Time) (names []string, version string, err error) {
	list, err := client.CoreV1().Pods(u.account.Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, "", fmt.Errorf("list the pods of %s: %w", u.account.Namespace, err)
	}
	for i := range list.Items {
		p := &list.Items[i]
		if u.runs(p, now) {
			names = append(names, p.Name)
		}
	}
	return names, list.ResourceVersion, nil
}

// runs reports whether a pod acts as the account. One that should have ended by now does not:
// its machine is not responding, and nothing reaches it.
func (u users) runs(p *corev1.Pod, now time.Time) bool {
	return p.Spec.ServiceAccountName == u.account.Name && !u.ended(p, now)
}

func (u users) ended(p *corev1.Pod, now time.Time) bool {
	if p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
		return true
	}
	if p.DeletionTimestamp == nil {
		return false
	}
	first, seen := u.since[p.UID]
	if !seen {
		first, u.since[p.UID] = now, now
	}
	var grace time.Duration
	if s := p.DeletionGracePeriodSeconds; s != nil {
		grace = time.Duration(*s) * time.Second
	}
	return now.After(first.Add(grace + endMargin))
}
