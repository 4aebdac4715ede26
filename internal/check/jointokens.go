package check

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"pai.dev/pai/internal/kube"
)

func joinTokenChecks() []Check {
	return []Check{{"join-tokens", "no join token is left", standaloneOnly, onAPI(joinTokens)}}
}

// joinTokenLife is longer than any join token of PAI lives.
const joinTokenLife = 15 * time.Minute

// joinTokens reports tokens for joining kubelets that PAI did not make: PAI deletes its
// own when the machine has joined, and they end after ten minutes.
func joinTokens(ctx context.Context, _ *world, client *kube.Client) ([]Result, error) {
	list, err := client.Clientset().CoreV1().Secrets(metav1.NamespaceSystem).List(ctx,
		metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("type", string(corev1.SecretTypeBootstrapToken)).String()})
	if err != nil {
		return nil, fmt.Errorf("list the join tokens: %w", err)
	}
	return joinTokensOf(list.Items, time.Now()), nil
}

func joinTokensOf(secrets []corev1.Secret, now time.Time) (results []Result) {
	for _, s := range secrets {
		const next = "if no machine joins with it, run on the control-plane machine: kubectl -n kube-system delete secret "
		ends, err := time.Parse(time.RFC3339, string(s.Data["expiration"]))
		switch {
		case err != nil:
			results = append(results, warning(s.Name, next+s.Name, "a join token does not expire: its holder can request the identity of a node"))
		case ends.After(now.Add(joinTokenLife)):
			results = append(results, warning(s.Name, next+s.Name, "a join token lives until %s: its holder can request the identity of a node", ends.UTC().Format(time.RFC3339)))
		}
	}
	return orOkay(results, "no join token outlives a join")
}
