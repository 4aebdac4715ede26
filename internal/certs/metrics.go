package certs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"pai.dev/pai/internal/layout"
)

// Metrics of the certificates of a machine, which node-exporter shows. Their labels are
// paths, never users or keys.
const (
	metricBegin   = "pai_certificate_not_before_timestamp_seconds"
	metricEnd     = "pai_certificate_not_after_timestamp_seconds"
	metricRenewal = "pai_certificates_renewal_up"
)

// writeMetrics writes the metrics, at once: when each certificate begins and ends, and
// whether the last look could read all and renew what was due. The age of the file says
// whether certificates are looked at. A file that cannot be written keeps no certificate
// from its renewal.
func (s Store) writeMetrics(renewed bool) {
	list, problems := s.List()
	text := metricsText(list, renewed && len(problems) == 0)
	err := os.MkdirAll(s.at(layout.MetricsDir), 0o755)
	if err == nil {
		err = s.write(layout.CertificateMetricsFile, []byte(text), 0o644)
	}
	if err != nil {
		s.Log.Warn("the metrics of certificates could not be written", "error", err.Error())
	}
}

// removeMetrics removes the metrics, which would only get older.
func (s Store) removeMetrics() {
	_ = os.Remove(filepath.Join(s.Root, layout.CertificateMetricsFile)) // a reboot removes it, too
}

// metricsText is the text format of Prometheus.
func metricsText(list []Certificate, renewal bool) string {
	var b strings.Builder
	head := func(name, help string) { fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name) }
	head(metricBegin, "When a certificate begins.")
	for _, c := range list {
		fmt.Fprintf(&b, "%s{file=%q,renewed_by=%q} %d\n", metricBegin, c.Path, c.renewer(), c.NotBefore.Unix())
	}
	head(metricEnd, "When a certificate ends.")
	for _, c := range list {
		fmt.Fprintf(&b, "%s{file=%q,renewed_by=%q} %d\n", metricEnd, c.Path, c.renewer(), c.NotAfter.Unix())
	}
	head(metricRenewal, "Whether all certificates could be read, and those that were due renewed.")
	up := 0
	if renewal {
		up = 1
	}
	fmt.Fprintf(&b, "%s %d\n", metricRenewal, up)
	return b.String()
}

// renewer is who renews a certificate: pai, kubelet, or none.
func (c Certificate) renewer() string {
	switch {
	case c.Authority:
		return "none"
	case c.Kubelet:
		return "kubelet"
	default:
		return "pai"
	}
}
