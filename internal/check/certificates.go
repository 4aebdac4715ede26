package check

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"pai.dev/pai/internal/layout"
)

func certificateChecks() []Check {
	return []Check{
		{"certificates", "no certificate expires soon", Upgrade, onMachines(certificates)},
		{"service-certificates", "no certificate of a service expires soon", standaloneOnly, onAPI(serviceCertificates)},
	}
}

// A certificate must be valid longer than an operation takes. Certificate
// authorities have an earlier warning, because nothing renews them automatically.
const (
	operationTakes  = 3 * time.Hour
	certificateWarn = 30 * 24 * time.Hour
	authorityWarn   = 180 * 24 * time.Hour
)

func certificates(m observedMachine) Result {
	if len(m.Certificates) == 0 && !m.state.Joined {
		return Result{}
	}
	return certificatesOf(m.Hostname, m.Certificates, time.Now())
}

func certificatesOf(name string, files map[string][]byte, now time.Time) Result {
	if len(files) == 0 {
		return unknownf(name, "the machine is in the cluster but has no certificates")
	}
	var problems, soon []string
	identity := false // the identity of the kubelet has ended
	var first time.Time
	var firstFile string
	for _, file := range slices.Sorted(maps.Keys(files)) {
		certs, err := parsePEM(files[file])
		if err != nil {
			return unknownf(name, "%s: %w", file, err)
		}
		for _, c := range certs {
			left, warn := c.NotAfter.Sub(now), min(certificateWarn, c.NotAfter.Sub(c.NotBefore)/4)
			if c.IsCA {
				warn = authorityWarn
			}
			if left <= 0 && file == layout.KubeletClientCertificate {
				identity = true
			}
			switch {
			case left <= 0:
				problems = append(problems, fmt.Sprintf("%s expired on %s", file, date(c.NotAfter)))
			case left < operationTakes:
				problems = append(problems, fmt.Sprintf("%s expires in %s", file, left.Round(time.Minute)))
			case now.Before(c.NotBefore):
				problems = append(problems, fmt.Sprintf("%s is not valid before %s", file, date(c.NotBefore)))
			case left < warn:
				soon = append(soon, fmt.Sprintf("%s expires on %s", file, date(c.NotAfter)))
			}
			if first.IsZero() || c.NotAfter.Before(first) {
				first, firstFile = c.NotAfter, file
			}
		}
	}
	fix := "renew them; run: paictl cluster certificates --renew"
	if identity {
		fix = "join the machine again, which touches no container; run: paictl cluster k8s-bootup"
	}
	return summary(name, fix, problems, soon, "%s is the first to expire, on %s", firstFile, date(first))
}

// parsePEM returns all certificates of a file, in order.
func parsePEM(data []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for rest := bytes.TrimSpace(data); len(rest) > 0; rest = bytes.TrimSpace(rest) {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, errors.New("not a certificate")
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		certs = append(certs, c)
	}
	if len(certs) == 0 {
		return nil, errors.New("not a certificate")
	}
	return certs, nil
}
