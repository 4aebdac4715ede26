// Package rights lists what each account of PAI can read and write.
package rights

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"pai.dev/pai/internal/golden"
	"pai.dev/pai/internal/release"
)

const root = "../.."

// reasons say why an account can read a Secret, by the account, the names of the Secrets
// (all of them if there are none), and the namespace.
var reasons = map[string]string{
	"user pai:certificates [rest-server-tls portal-tls metrics-tls rest-server-ca] in pai-system": "it renews these three certificates with the authority of the REST server",
	"pai-system/jobset-controller [] in pai-system":                                               "it renews the certificate of its webhooks, and its cache lists the namespace; upstream asks for no single name",
	"pai-system/kueue-controller-manager [] in pai-system":                                        "it renews the certificate of its webhooks, and its cache lists the namespace; upstream asks for no single name",
	"pai-system/rest-api [rest-server-users] in pai-system":                                       "it checks the passwords and tokens of its callers",
}

// object is what is read of a rendered object.
type object struct {
	Kind     string `json:"kind"`
	Metadata struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	} `json:"metadata"`
	// Golden files of services have these of a role in another place.
	Name            string                  `json:"name"`
	Namespace       string                  `json:"namespace"`
	Rules           []rbacv1.PolicyRule     `json:"rules"`
	AggregationRule *rbacv1.AggregationRule `json:"aggregationRule"`
	RoleRef         rbacv1.RoleRef          `json:"roleRef"`
	Subjects        []rbacv1.Subject        `json:"subjects"`
}

// Every rule of every account that the newest release makes is in a file, and each that
// reads a Secret has its reason. What services render is in golden files already.
func TestRightsOfAllAccounts(t *testing.T) {
	t.Parallel()
	var objects []object
	for _, file := range rendered(t) {
		objects = append(objects, read(t, file)...)
	}
	lines, used, problems := list(objects)
	for _, p := range problems {
		t.Error(p)
	}
	for of := range reasons {
		if !used[of] {
			t.Errorf("no account needs the reason of %q any more", of)
		}
	}
	if len(lines) < 40 {
		t.Errorf("got %d rules, so something was not read", len(lines))
	}
	golden.Check(t, "testdata/rights.txt", strings.Join(lines, "\n")+"\n")
}

// A new rule that reads Secrets is not accepted without a reason, however it is given.
func TestSecretsNeedAReason(t *testing.T) {
	t.Parallel()
	role := func(rule rbacv1.PolicyRule) []object {
		made := []object{{Kind: "ClusterRole", Rules: []rbacv1.PolicyRule{rule}}, {Kind: "ClusterRoleBinding", RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: "r"},
			Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "pai-system", Name: "new"}}}}
		made[0].Metadata.Name = "r"
		return made
	}
	for name, c := range map[string]struct {
		rule rbacv1.PolicyRule
		bad  bool
	}{
		"reads":            {rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get"}}, true},
		"watches":          {rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods", "secrets"}, Verbs: []string{"watch"}}, true},
		"everything":       {rbacv1.PolicyRule{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}}, true},
		"creates":          {rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"create"}}, false},
		"of another group": {rbacv1.PolicyRule{APIGroups: []string{"example.org"}, Resources: []string{"secrets"}, Verbs: []string{"get"}}, false},
		"pods":             {rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get"}}, false},
	} {
		if _, _, problems := list(role(c.rule)); (len(problems) > 0) != c.bad {
			t.Errorf("%s: got the problems %q, want some %v", name, problems, c.bad)
		}
	}
	missing := role(rbacv1.PolicyRule{})[1:]
	missing[0].RoleRef.Name = "not-rendered"
	if _, _, problems := list(missing); len(problems) != 1 {
		t.Errorf("got the problems %q of a role that nothing renders, want one", problems)
	}
}

// rendered are the files with what the newest release renders.
func rendered(t *testing.T) []string {
	t.Helper()
	manifests, err := release.Load(os.DirFS(filepath.Join(root, "releases")))
	if err != nil {
		t.Fatal(err)
	}
	newest := manifests[len(manifests)-1]
	golden := filepath.Join(root, "internal/cluster/testdata/golden")
	files := []string{filepath.Join(golden, "bootstrap.yaml"), filepath.Join(golden, "coredns.yaml")}
	for _, s := range newest.ServiceList {
		files = append(files, filepath.Join(root, "internal/service/testdata", s.Name+"-"+string(newest.Metadata.Name)+".yaml"))
	}
	return files
}

func read(t *testing.T, file string) []object {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var objects []object
	for d := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096); ; {
		var o object
		if err := d.Decode(&o); errors.Is(err, io.EOF) {
			return objects
		} else if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		o.Metadata.Name, o.Metadata.Namespace = cmp.Or(o.Metadata.Name, o.Name), cmp.Or(o.Metadata.Namespace, o.Namespace)
		objects = append(objects, o)
	}
}

// list has a line for each rule of each account, the reasons that it used, and what is
// wrong.
func list(objects []object) (lines []string, used map[string]bool, problems []string) {
	used = map[string]bool{}
	for _, binding := range objects {
		if binding.Kind != "RoleBinding" && binding.Kind != "ClusterRoleBinding" {
			continue
		}
		where := "in all namespaces"
		if binding.Kind == "RoleBinding" {
			where = "in " + binding.Metadata.Namespace
		}
		i := slices.IndexFunc(objects, func(o object) bool {
			return o.Kind == binding.RoleRef.Kind && o.Metadata.Name == binding.RoleRef.Name && (o.Kind == "ClusterRole" || o.Metadata.Namespace == binding.Metadata.Namespace)
		})
		if i < 0 || objects[i].AggregationRule != nil {
			problems = append(problems, fmt.Sprintf("%s %s gives the %s %s, whose rules are not rendered", binding.Kind, binding.Metadata.Name, binding.RoleRef.Kind, binding.RoleRef.Name))
			continue
		}
		for _, subject := range binding.Subjects {
			account := subject.Namespace + "/" + subject.Name
			if subject.Kind != rbacv1.ServiceAccountKind {
				account = strings.ToLower(subject.Kind) + " " + subject.Name
			}
			for _, rule := range objects[i].Rules {
				line, reason := lineOf(account, rule, where), ""
				if readsSecrets(rule) {
					of := fmt.Sprintf("%s %v %s", account, rule.ResourceNames, where)
					if reason = reasons[of]; reason == "" {
						problems = append(problems, fmt.Sprintf("no reason says why %s", line))
					}
					used[of] = true
					line += "; reads Secrets: " + reason
				}
				lines = append(lines, line)
			}
		}
	}
	slices.Sort(lines)
	return slices.Compact(lines), used, problems
}

// lineOf is a rule as text.
func lineOf(account string, rule rbacv1.PolicyRule, where string) string {
	var resources []string
	for _, group := range rule.APIGroups {
		for _, r := range rule.Resources {
			if group != "" {
				r += "." + group
			}
			resources = append(resources, r)
		}
	}
	for _, url := range rule.NonResourceURLs {
		resources, where = append(resources, url), "as URL"
	}
	verbs, names := slices.Sorted(slices.Values(rule.Verbs)), ""
	slices.Sort(resources)
	if len(rule.ResourceNames) > 0 {
		names = fmt.Sprintf(" %v", slices.Sorted(slices.Values(rule.ResourceNames)))
	}
	return fmt.Sprintf("%s: %s %s%s %s", account, strings.Join(verbs, ","), strings.Join(resources, ","), names, where)
}

// readsSecrets reports whether a rule lets an account read Secrets of Kubernetes.
func readsSecrets(rule rbacv1.PolicyRule) bool {
	has := func(list []string, wanted ...string) bool {
		return slices.ContainsFunc(list, func(s string) bool { return s == "*" || slices.Contains(wanted, s) })
	}
	return has(rule.APIGroups, "") && has(rule.Resources, "secrets") && has(rule.Verbs, "get", "list", "watch")
}
