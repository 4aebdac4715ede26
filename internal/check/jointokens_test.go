package check

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestJoinTokensOf(t *testing.T) {
	t.Parallel()
	now := time.Unix(1.7e9, 0)
	token := func(name, expiration string) corev1.Secret {
		s := corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string][]byte{}}
		if expiration != "" {
			s.Data["expiration"] = []byte(expiration)
		}
		return s
	}
	at := func(d time.Duration) string { return now.Add(d).UTC().Format(time.RFC3339) }
	own := []corev1.Secret{token("joining", at(10*time.Minute)), token("over", at(-time.Hour))}
	got := joinTokensOf(append(own, token("endless", ""), token("long", at(24*time.Hour)), token("damaged", "tomorrow")), now)
	var targets []string
	for _, r := range got {
		if r.Outcome != Warning || r.Fix == "" {
			t.Errorf("got %+v, want a warning with a fix", r)
		}
		targets = append(targets, r.Target)
	}
	if len(targets) != 3 || targets[0] != "endless" || targets[1] != "long" || targets[2] != "damaged" {
		t.Errorf("got warnings about %v, want endless, long, and damaged", targets)
	}
	if got := joinTokensOf(own, now); len(got) != 1 || got[0].Outcome != OK {
		t.Errorf("got %+v, want OK", got)
	}
}
