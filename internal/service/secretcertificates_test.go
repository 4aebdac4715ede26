package service

import (
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/pai"
)

// Every Secret with a certificate is listed with its end and what renews it, also one of a
// service that is not known here.
func TestSecretCertificates(t *testing.T) {
	t.Parallel()
	now := time.Now()
	webhook, err := (&WebhookCertificate{Secret: "kueue-webhook-server-cert", Service: "kueue-webhook-service", Authority: "kueue-ca"}).generate(now)
	if err != nil {
		t.Fatal(err)
	}
	secret := func(name string, data map[string][]byte) corev1.Secret {
		return corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: pai.SystemNamespace, Name: name}, Data: data}
	}
	pair := map[string][]byte{corev1.TLSCertKey: webhook[corev1.TLSCertKey], authorityCert: webhook[authorityCert]}
	list, problems := certificatesOf([]corev1.Secret{
		secret("new-service", pair), secret(pai.UsersSecret, map[string][]byte{"ann": []byte("hash")}), secret(pai.RESTServerTLS, pair),
		secret(pai.RESTServerCA, map[string][]byte{corev1.TLSCertKey: webhook[authorityCert]}), secret("broken", map[string][]byte{corev1.TLSCertKey: []byte("x")}),
	}, now)
	type shown struct {
		path               string
		authority, program bool
	}
	var got []shown
	for _, c := range list {
		if want := now.Add(webhookCertLife); c.NotAfter.Before(want.Add(-48*time.Hour)) || c.NotAfter.After(want.Add(48*time.Hour)) || c.Due {
			t.Errorf("%s: got the end %s, due %v, want about %s", c.Path, c.NotAfter, c.Due, want)
		}
		got = append(got, shown{c.Path, c.Authority, c.Program})
	}
	const base = "secret/" + pai.SystemNamespace + "/"
	want := []shown{
		{base + "new-service/ca.crt", false, true}, {base + "new-service/tls.crt", false, true},
		{base + pai.RESTServerCA + "/tls.crt", true, false}, {base + pai.RESTServerTLS + "/tls.crt", false, false},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if len(problems) != 1 {
		t.Errorf("got the problems %q, want one of the broken Secret", problems)
	}
}
