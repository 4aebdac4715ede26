package check

import (
	"testing"
	"time"

	"pai.dev/pai/internal/certs"
)

// A certificate in a Secret is reported before it ends, and an authority earlier.
func TestServiceCertificatesThatEnd(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	const day, year = 24 * time.Hour, 365 * 24 * time.Hour
	for name, c := range map[string]struct {
		left time.Duration
		of   certs.Certificate
		want Outcome
	}{
		"young":            {300 * day, certs.Certificate{}, OK},
		"due":              {29 * day, certs.Certificate{}, Warning},
		"ended":            {-time.Hour, certs.Certificate{}, Failed},
		"of a webhook":     {2 * time.Hour, certs.Certificate{Program: true}, Failed},
		"of an authority":  {170 * day, certs.Certificate{Authority: true}, Warning},
		"with half a year": {170 * day, certs.Certificate{}, OK},
	} {
		c.of.Path, c.of.NotAfter, c.of.NotBefore = "secret/pai-system/x/tls.crt", now.Add(c.left), now.Add(c.left-year)
		results := endsOf([]certs.Certificate{c.of}, now)
		got := OK // no result
		if len(results) == 1 {
			got = results[0].Outcome
		}
		if len(results) > 1 || got != c.want {
			t.Errorf("%s: got %+v, want %q", name, results, c.want)
		}
	}
}
