package service

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"pai.dev/pai/internal/certs"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/pai"
)

// SecretCertificates returns the certificates in Secrets of the services, and what cannot be
// read of them. The path of each is the place of its Secret. The control-plane machine
// renews those of PAI, and Kueue and JobSet those of their webhooks.
func SecretCertificates(ctx context.Context, client *kube.Client, now time.Time) (list []certs.Certificate, problems []string, err error) {
	secrets, err := client.Clientset().CoreV1().Secrets(pai.SystemNamespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, nil, fmt.Errorf("list the Secrets with certificates of the services: %w", err)
	}
	list, problems = certificatesOf(secrets.Items, now)
	return list, problems, nil
}

// certificatesOf takes every Secret with a certificate, so that a service that is added is
// not left out. A key of an authority beside it is another certificate.
func certificatesOf(secrets []corev1.Secret, now time.Time) (list []certs.Certificate, problems []string) {
	own := []string{pai.RESTServerTLS, pai.PortalTLS, pai.MetricsTLS}
	for _, s := range secrets {
		for _, key := range []string{corev1.TLSCertKey, authorityCert} {
			data := s.Data[key]
			if len(data) == 0 {
				continue
			}
			path := "secret/" + s.Namespace + "/" + s.Name + "/" + key
			all, err := certs.Parse(data)
			if err != nil {
				problems = append(problems, fmt.Sprintf("read %s: %v", path, err))
				continue
			}
			c := all[0]
			byPAI := slices.Contains(own, s.Name)
			if key == authorityCert && byPAI {
				continue // a copy of that of the REST server
			}
			list = append(list, certs.Certificate{Path: path, Subject: c.Subject.CommonName, NotBefore: c.NotBefore, NotAfter: c.NotAfter,
				Authority: c.IsCA && s.Name == pai.RESTServerCA, Program: !byPAI && s.Name != pai.RESTServerCA, Due: certs.Due(c, now)})
		}
	}
	slices.SortFunc(list, func(a, b certs.Certificate) int { return strings.Compare(a.Path, b.Path) })
	return list, problems
}
