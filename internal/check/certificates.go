package check

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"pai.dev/pai/internal/config"
	"pai.dev/pai/internal/layout"
)

// A certificate has to outlive the operation; one that ends within the month
// is worth a word. Authorities are asked for earlier, because nothing renews
// them by itself.
const (
	operationTakes  = 3 * time.Hour
	certificateWarn = 30 * 24 * time.Hour
	authorityWarn   = 180 * 24 * time.Hour
)

func certificates(ctx context.Context, w *world) []Result {
	return w.eachMachine(ctx, func(m config.Machine, f machineFacts) []Result {
		if len(f.Certificates) == 0 && !w.observed(m.Hostname).Joined {
			return nil // nothing was set up yet
		}
		return []Result{certificatesOf(m.Hostname, f.Certificates, time.Now())}
	})
}

func certificatesOf(name string, files map[string][]byte, now time.Time) Result {
	if len(files) == 0 {
		return unknown(name, fmt.Errorf("it is in the cluster, and no certificate was found on it"))
	}
	var over, soon []string
	first, firstFile := time.Time{}, ""
	for _, file := range slices.Sorted(maps.Keys(files)) {
		certs, err := parsePEM(files[file])
		if err != nil {
			return unknown(name, fmt.Errorf("%s: %w", file, err))
		}
		for _, c := range certs {
			left := c.NotAfter.Sub(now)
			warn := certificateWarn
			if c.IsCA {
				warn = authorityWarn
			}
			switch {
			case left <= 0:
				over = append(over, fmt.Sprintf("%s ended %s", file, date(c.NotAfter)))
			case left < operationTakes:
				over = append(over, fmt.Sprintf("%s ends in %s", file, left.Round(time.Minute)))
			case now.Before(c.NotBefore):
				over = append(over, fmt.Sprintf("%s is not valid before %s", file, date(c.NotBefore)))
			case left < warn:
				soon = append(soon, fmt.Sprintf("%s ends %s", file, date(c.NotAfter)))
			}
			if first.IsZero() || c.NotAfter.Before(first) {
				first, firstFile = c.NotAfter, file
			}
		}
	}
	const fix = "on the control-plane machine, as root: " + layout.RolesDir + "/" + string(layout.RoleScheduler) + "/bin/kubeadm certs renew all, then systemctl restart pai-controller-manager pai-scheduler; kubelets renew their own while the API answers"
	switch {
	case len(over) > 0:
		return failed(name, fix, "%s", strings.Join(over, "; "))
	case len(soon) > 0:
		return warning(name, "an upgrade of Kubernetes renews them; or "+fix, "%s", strings.Join(soon, "; "))
	default:
		return okay(name, "the first to end is %s, %s", firstFile, date(first))
	}
}

func date(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

// parsePEM reads all certificates of a file, the first one first.
func parsePEM(data []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for rest := bytes.TrimSpace(data); len(rest) > 0; rest = bytes.TrimSpace(rest) {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, fmt.Errorf("it holds something that is no certificate")
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		certs = append(certs, c)
	}
	if len(certs) == 0 {
		return nil, fmt.Errorf("it holds no certificate")
	}
	return certs, nil
}
