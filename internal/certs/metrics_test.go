package certs

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
)

func (f *fixture) metrics() string {
	f.t.Helper()
	data, err := os.ReadFile(f.at(layout.CertificateMetricsFile))
	f.check(err)
	return string(data)
}

// The metrics have the end of each certificate, and say who renews it.
func TestMetricsNameEachCertificate(t *testing.T) {
	t.Parallel()
	f := newFixture(t, year)
	newCluster(t, f)
	f.renewDue(t.Context())
	text := f.metrics()
	list, _ := f.List()
	if len(list) < 10 {
		t.Fatalf("got %d certificates, want those of a control-plane machine", len(list))
	}
	for _, c := range list {
		by := "pai"
		if c.Authority {
			by = "none"
		}
		for name, at := range map[string]time.Time{metricBegin: c.NotBefore, metricEnd: c.NotAfter} {
			if want := fmt.Sprintf("%s{file=%q,renewed_by=%q} %d\n", name, c.Path, by, at.Unix()); strings.Count(text, want) != 1 {
				t.Errorf("got not once: %s", want)
			}
		}
	}
	if !strings.Contains(text, "\n"+metricRenewal+" 1\n") {
		t.Errorf("got %s, want a renewal that works", text)
	}
	info, err := os.Stat(f.at(layout.CertificateMetricsFile))
	f.check(err)
	if info.Mode().Perm() != 0o644 {
		t.Errorf("got mode %s, want a file that node-exporter reads", info.Mode())
	}
}

// A file that cannot be read, and a renewal that fails, show in the metrics until they
// are whole again.
func TestMetricsSayThatARenewalFails(t *testing.T) {
	t.Parallel()
	f := newFixture(t, year)
	api := newCluster(t, f)
	look := func(want string) {
		t.Helper()
		f.renewDue(t.Context())
		if text := f.metrics(); !strings.Contains(text, "\n"+metricRenewal+" "+want+"\n") {
			t.Errorf("got %s, want the value %s", text, want)
		}
	}
	look("1")
	f.put(layout.KubeletClientCertificate, []byte("not PEM"))
	look("0")
	f.check(os.Remove(f.at(layout.KubeletClientCertificate)))
	look("1")
	broken := map[string][]byte{tlsCert: []byte("not PEM")}
	api.secrets[pai.RESTServerCA], api.secrets[pai.RESTServerTLS] = broken, broken
	look("0")
}

// Without its unit, the program ends and leaves no metrics; with it, the next one
// continues them.
func TestMetricsGoWithTheUnit(t *testing.T) {
	t.Parallel()
	for _, unit := range []bool{true, false} {
		f := newFixture(t, year)
		f.writeMetrics(true)
		if unit {
			f.put(layout.UnitsDir+"/"+layout.CertificatesUnit, nil)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		Keep(ctx, f.Store)
		if _, err := os.Stat(f.at(layout.CertificateMetricsFile)); (err == nil) != unit {
			t.Errorf("unit %v: got %v", unit, err)
		}
	}
}
