package check

import (
	"context"
	"time"

	"pai.dev/pai/internal/certs"
	"pai.dev/pai/internal/kube"
	"pai.dev/pai/internal/service"
)

// serviceCertificates reports certificates in Secrets that end soon: what should renew
// them does not.
func serviceCertificates(ctx context.Context, _ *world, client *kube.Client) ([]Result, error) {
	now := time.Now()
	list, problems, err := service.SecretCertificates(ctx, client, now)
	if err != nil {
		return nil, err
	}
	results := endsOf(list, now)
	for _, p := range problems {
		results = append(results, failed("secrets", "create the service again, run: paictl service start", "%s", p))
	}
	return orOkay(results, "%d certificates", len(list)), nil
}

func endsOf(list []certs.Certificate, now time.Time) (results []Result) {
	for _, c := range list {
		fix := "renew it; run: paictl cluster certificates --renew"
		if c.Program {
			fix = "restart the controller of the service, which renews it when it starts, with kubectl"
		}
		left, warn := c.NotAfter.Sub(now), min(certificateWarn, c.NotAfter.Sub(c.NotBefore)/4)
		if c.Authority {
			fix, warn = "nothing renews an authority; ask for help before it ends", authorityWarn
		}
		switch {
		case left < operationTakes:
			results = append(results, failed(c.Path, fix, "expires on %s", date(c.NotAfter)))
		case left < warn:
			results = append(results, warning(c.Path, fix, "expires on %s", date(c.NotAfter)))
		}
	}
	return results
}
