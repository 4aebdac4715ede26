package cluster

import (
	"fmt"

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

// addAPIServerFiles adds the audit policy of an API server and who can call it without
// credentials.
func addAPIServerFiles(files map[string]preparedFile, v pai.KubernetesVersion) error {
	for _, name := range []string{layout.AuditPolicyName, layout.AuthenticationName} {
		data, err := embedded.ReadFile("manifests/" + name)
		if err != nil {
			return err
		}
		files[layout.VersionFile(v, name)] = preparedFile{string(data), 0o600}
	}
	return nil
}

// containedAPIServer adds what an API server records and refuses. A service with
// external addresses would receive the traffic of others.
func containedAPIServer(f flags, v pai.KubernetesVersion, r plan.Role) flags {
	return f.set("audit-policy-file", layout.VersionFile(v, layout.AuditPolicyName)).
		set("audit-log-path", layout.AuditDir+"/audit-"+layout.SlotOf(r).Name+".log").
		set("audit-log-maxage", fmt.Sprint(auditDays)).
		set("audit-log-maxbackup", fmt.Sprint(auditBackups)).
		set("audit-log-maxsize", fmt.Sprint(auditMegabytes)).
		set("authentication-config", layout.VersionFile(v, layout.AuthenticationName)).
		set("service-account-extend-token-expiration", "false").
		set("enable-admission-plugins", "NodeRestriction,DenyServiceExternalIPs")
}
