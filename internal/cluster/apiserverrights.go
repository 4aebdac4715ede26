package cluster

import (
	"fmt"
	"strings"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
	"pai.dev/pai/internal/plan"
)

// Limits of an audit log. Each slot of the API server has a log, because both run
// during a handover: 1.2 GB in all.
const (
	auditDays      = 30
	auditBackups   = 5
	auditMegabytes = 100
)

// strongCiphers are the suites of TLS 1.2 that are forward secret and authenticate what
// they encrypt. HTTP/2 needs one of the first two, and every client of PAI has both. They
// do not concern TLS 1.3.
var strongCiphers = []string{
	"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
	"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
	"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
	"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
	"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
	"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
}

// endedPods is how many ended pods the controller manager keeps. Ended jobs leave with
// their pods long before; see the retention of the REST server.
const endedPods = 12500

// privateScript is the mode of a script that only root starts.
const privateScript = 0o700

// addAuditPolicy adds the audit policy of an API server.
func addAuditPolicy(files map[string]preparedFile, v pai.KubernetesVersion) error {
	data, err := embedded.ReadFile("manifests/" + layout.AuditPolicyName)
	files[layout.VersionFile(v, layout.AuditPolicyName)] = preparedFile{string(data), 0o600}
	return err
}

// apiServerFlagsSinceV011 adds what an API server records and refuses. Callers without a
// credential see only whether it is healthy. A service with external addresses would
// receive the traffic of others.
func apiServerFlagsSinceV011(f flags, v pai.KubernetesVersion, r plan.Role) flags {
	return f.set("authentication-config", layout.AuthenticationFile).
		set("encryption-provider-config-automatic-reload", "true"). // for a rotation of the key
		set("audit-policy-file", layout.VersionFile(v, layout.AuditPolicyName)).
		set("audit-log-path", layout.AuditDir+"/audit-"+layout.SlotOf(r).Name+".log").
		set("audit-log-maxage", fmt.Sprint(auditDays)).
		set("audit-log-maxbackup", fmt.Sprint(auditBackups)).
		set("audit-log-maxsize", fmt.Sprint(auditMegabytes)).
		set("service-account-extend-token-expiration", "false").
		set("tls-cipher-suites", strings.Join(strongCiphers, ",")).
		set("enable-admission-plugins", "NodeRestriction,DenyServiceExternalIPs")
}
