package cluster

import (
	"slices"
	"testing"

	"sigs.k8s.io/yaml"

	"pai.dev/pai/internal/layout"
	"pai.dev/pai/internal/pai"
)

// auditPolicy is an audit policy (audit.k8s.io/v1), as far as it is tested.
type auditPolicy struct {
	Rules []auditRule `json:"rules"`
}

type auditRule struct {
	Level           string   `json:"level"`
	Verbs           []string `json:"verbs"`
	Users           []string `json:"users"`
	UserGroups      []string `json:"userGroups"`
	NonResourceURLs []string `json:"nonResourceURLs"`
	Resources       []struct {
		Group         string   `json:"group"`
		Resources     []string `json:"resources"`
		ResourceNames []string `json:"resourceNames"`
	} `json:"resources"`
}

// request is a request as the audit policy distinguishes them.
type request struct{ user, group, verb, apiGroup, resource, name string }

// level is that of the first rule that matches, as the API server decides it.
func (p auditPolicy) level(r request) string {
	for _, rule := range p.Rules {
		listed := func(list []string, value string) bool { return len(list) == 0 || slices.Contains(list, value) }
		resource := len(rule.Resources) == 0 && len(rule.NonResourceURLs) == 0
		for _, of := range rule.Resources {
			resource = resource || of.Group == r.apiGroup && listed(of.Resources, r.resource) && listed(of.ResourceNames, r.name)
		}
		if resource && listed(rule.Verbs, r.verb) && listed(rule.Users, r.user) && listed(rule.UserGroups, r.group) {
			return rule.Level
		}
	}
	return "None"
}

func TestAuditPolicy(t *testing.T) {
	t.Parallel()
	data, err := embedded.ReadFile("manifests/audit-policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var p auditPolicy
	if err := yaml.Unmarshal(data, &p); err != nil {
		t.Fatal(err)
	}
	const restServer, older = "system:serviceaccount:pai-system:rest-api", "system:serviceaccount:pai-system:rest-server"
	for _, c := range []struct {
		name string
		request
		want string
	}{
		{"an operator lists Secrets", request{"kubernetes-admin", "kubeadm:cluster-admins", "list", "", "secrets", ""}, "Metadata"},
		{"a service reads a Secret", request{"system:serviceaccount:pai-system:kueue-controller-manager", "", "get", "", "secrets", ""}, "Metadata"},
		{"a kubelet reads a Secret", request{"system:node:pai-1", "system:nodes", "get", "", "secrets", ""}, "Metadata"},
		{"an operator enters a container", request{"kubernetes-admin", "", "get", "", "pods/exec", ""}, "Metadata"},
		{"an operator deletes a node", request{"kubernetes-admin", "", "delete", "", "nodes", ""}, "Metadata"},
		{"the REST server submits a job", request{restServer, "", "create", "jobset.x-k8s.io", "jobsets", ""}, "Metadata"},
		{"Kueue changes rights", request{"system:serviceaccount:pai-system:kueue-controller-manager", "", "create", "rbac.authorization.k8s.io", "clusterrolebindings", ""}, "Metadata"},
		{"a kubelet asks for a certificate", request{"system:node:pai-1", "system:nodes", "create", "certificates.k8s.io", "certificatesigningrequests", ""}, "Metadata"},
		{"Kueue admits a job", request{"system:serviceaccount:pai-system:kueue-controller-manager", "", "update", "kueue.x-k8s.io", "workloads", ""}, "None"},
		{"the certificate program approves a certificate", request{layout.CertificatesUser, "", "update", "certificates.k8s.io", "certificatesigningrequests/approval", ""}, "Metadata"},
		{"the certificate program looks for requests", request{layout.CertificatesUser, "", "list", "certificates.k8s.io", "certificatesigningrequests", ""}, "None"},
		{"the REST server reads its users", request{restServer, "", "get", "", "secrets", pai.UsersSecret}, "None"},
		{"a REST server of v0.10 reads its users", request{older, "", "get", "", "secrets", pai.UsersSecret}, "None"},
		{"the REST server reads another Secret", request{restServer, "", "get", "", "secrets", "encryption"}, "Metadata"},
		{"the REST server changes its users", request{restServer, "", "update", "", "secrets", pai.UsersSecret}, "Metadata"},
		{"an operator reads the users", request{"operator:ann@desk", "", "get", "", "secrets", pai.UsersSecret}, "Metadata"},
		{"a heartbeat", request{"system:node:pai-1", "system:nodes", "update", "coordination.k8s.io", "leases", ""}, "None"},
		{"the status of a pod", request{"system:node:pai-1", "system:nodes", "patch", "", "pods/status", ""}, "None"},
		{"Prometheus lists pods", request{"system:serviceaccount:pai-system:prometheus", "", "list", "", "pods", ""}, "None"},
	} {
		if got := p.level(c.request); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
	for _, r := range p.Rules {
		if r.Level != "None" && r.Level != "Metadata" {
			t.Errorf("got level %s, want no content of objects", r.Level)
		}
	}
}
