package service

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// No role of a service of the newest release has a wildcard, or a right that opens the
// cluster. TestRightsOfServices asks a real API server about more of them.
func TestRolesHaveNoWideRights(t *testing.T) {
	all := sources(t)
	newest := all[len(all)-1]
	roles := 0
	for _, pin := range newest.manifest.ServiceList {
		t.Run(pin.Name, func(t *testing.T) {
			var s Service
			if pin.Chart == nil {
				s = oneService(t, newest, pin.Name, nil)
			} else {
				chart := cachedChart(t, "sigs.k8s.io/"+pin.Name+"@"+pin.Version, pin.Chart.Path)
				s = oneService(t, newest, pin.Name, os.DirFS(chart))
			}
			objs, err := Render(t.Context(), s, testConfig(), newest)
			if err != nil {
				t.Fatal(err)
			}
			for _, obj := range objs {
				for _, problem := range wideRights(t, obj) {
					if obj.GetKind() == "Role" && obj.GetName()+" "+problem == outputRight && limitsCommands(t, objs) {
						continue
					}
					t.Errorf("%s %s %s", obj.GetKind(), obj.GetName(), problem)
				}
				if strings.HasSuffix(obj.GetKind(), "Role") {
					roles++
				}
			}
		})
	}
	if roles < 4 {
		t.Errorf("got %d roles, want at least 4", roles)
	}
}

// outputRight is the one command that a service can run in pods: that of the REST server
// which reads the output of tasks. It needs the policy that refuses all others.
const outputRight = "rest-server-output reaches pods/exec"

// limitsCommands reports whether the objects have a policy that denies the REST server
// connections to other pods, and its binding.
func limitsCommands(t *testing.T, objs []*unstructured.Unstructured) bool {
	t.Helper()
	const name = "pai-rest-server-output"
	found := 0
	for _, obj := range objs {
		if obj.GetName() != name {
			continue
		}
		text, err := obj.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		switch obj.GetKind() {
		case "ValidatingAdmissionPolicy":
			if strings.Contains(string(text), `"operations":["CONNECT"],"resources":["pods/*"]`) && strings.Contains(string(text), `"failurePolicy":"Fail"`) {
				found++
			}
		case "ValidatingAdmissionPolicyBinding":
			if strings.Contains(string(text), `"validationActions":["Deny"]`) {
				found++
			}
		}
	}
	return found == 2
}

// cachedChart is a chart of a module that the module cache has.
func cachedChart(t *testing.T, module, chart string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(strings.TrimSpace(string(out)), module, chart)
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("the module cache lacks %s, which building a release brings", module)
	}
	return dir
}

// wideRights says what is too much in a role, or binds an account to all rights.
func wideRights(t *testing.T, obj *unstructured.Unstructured) (problems []string) {
	t.Helper()
	switch obj.GetKind() {
	case "RoleBinding", "ClusterRoleBinding":
		if name, _, _ := unstructured.NestedString(obj.Object, "roleRef", "name"); slices.Contains([]string{"cluster-admin", "admin", "edit"}, name) {
			problems = append(problems, "binds "+name)
		}
	case "Role", "ClusterRole":
		var role rbacv1.ClusterRole
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, &role); err != nil {
			t.Fatal(err)
		}
		for _, rule := range role.Rules {
			if slices.Contains(slices.Concat(rule.Verbs, rule.Resources, rule.APIGroups), "*") {
				problems = append(problems, "has a wildcard: "+rule.String())
			}
			for _, verb := range []string{"bind", "escalate", "impersonate", "approve", "sign"} {
				if slices.Contains(rule.Verbs, verb) {
					problems = append(problems, "can "+verb)
				}
			}
			writes := slices.ContainsFunc(rule.Verbs, func(verb string) bool { return !slices.Contains([]string{"get", "list", "watch"}, verb) })
			for _, resource := range []string{"persistentvolumes", "certificatesigningrequests/approval", "roles", "clusterroles", "rolebindings", "clusterrolebindings"} {
				if writes && slices.Contains(rule.Resources, resource) {
					problems = append(problems, "writes "+resource)
				}
			}
			for _, resource := range []string{"nodes/proxy", "serviceaccounts/token", "pods/exec", "pods/attach"} {
				if slices.Contains(rule.Resources, resource) {
					problems = append(problems, "reaches "+resource)
				}
			}
		}
	}
	return problems
}

func TestWideRightsAreFound(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ verb, resource, want string }{
		{"*", "pods", "wildcard"},
		{"get", "*", "wildcard"},
		{"impersonate", "users", "can impersonate"},
		{"create", "persistentvolumes", "writes persistentvolumes"},
		{"get", "persistentvolumes", ""},
		{"update", "certificatesigningrequests/approval", "writes certificatesigningrequests/approval"},
		{"get", "nodes/proxy", "reaches nodes/proxy"},
		{"create", "serviceaccounts/token", "reaches serviceaccounts/token"},
		{"list", "nodes/metrics", ""},
	} {
		obj := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": map[string]any{"name": "x"},
			"rules": []any{map[string]any{"apiGroups": []any{""}, "verbs": []any{c.verb}, "resources": []any{c.resource}}}}}
		if got := strings.Join(wideRights(t, obj), "; "); (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s %s: got %q, want %q", c.verb, c.resource, got, c.want)
		}
	}
}
