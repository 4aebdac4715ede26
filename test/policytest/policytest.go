// Package policytest evaluates admission policies with the code of the API server.
package policytest

import (
	"slices"
	"strings"
	"testing"

	admissionregistration "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/cel/environment"
)

// Write is a request that a policy is asked about.
type Write struct {
	Account               string
	Resource, Subresource string
	Old, New              *unstructured.Unstructured // Old is nil if the object is created
}

// Refusal is the message of the first rule of a policy that refuses a write; empty if none
// does, or if the policy is not for this write.
func Refusal(t *testing.T, p admissionregistration.ValidatingAdmissionPolicy, w Write) string {
	t.Helper()
	var conditions, rules []cel.ExpressionAccessor
	for _, c := range p.Spec.MatchConditions {
		conditions = append(conditions, (*matchconditions.MatchCondition)(&c))
	}
	if w.firstFalse(t, p.Name, conditions) < len(conditions) {
		return ""
	}
	for _, v := range p.Spec.Validations {
		rule := v.Expression
		for _, variable := range slices.Backward(p.Spec.Variables) { // a later one can use those before it
			rule = strings.ReplaceAll(rule, "variables."+variable.Name, "("+variable.Expression+")")
		}
		rules = append(rules, &matchconditions.MatchCondition{Expression: rule})
	}
	if i := w.firstFalse(t, p.Name, rules); i < len(rules) {
		return p.Spec.Validations[i].Message
	}
	return ""
}

// firstFalse is the index of the first expression that is not true, or how many there are. With
// an error, the API server refuses as well.
func (w Write) firstFalse(t *testing.T, policy string, expressions []cel.ExpressionAccessor) int {
	t.Helper()
	operation, kind := admission.Create, w.New.GroupVersionKind()
	resource := schema.GroupVersionResource{Version: "v1", Resource: w.Resource}
	var old runtime.Object
	if w.Old != nil {
		operation, old = admission.Update, w.Old
	}
	record := admission.NewAttributesRecord(w.New, old, kind, w.New.GetNamespace(), w.New.GetName(), resource, w.Subresource, operation, nil, false,
		&user.DefaultInfo{Name: w.Account})
	compiled := cel.NewConditionCompiler(environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion())).
		CompileCondition(expressions, cel.OptionalVariableDeclarations{}, environment.NewExpressions)
	if errs := compiled.CompilationErrors(); len(errs) > 0 {
		t.Fatalf("%s: %v", policy, errs)
	}
	attributes := &admission.VersionedAttributes{Attributes: record, VersionedKind: kind,
		VersionedObject: admission.NewLazyObject(w.New), VersionedOldObject: admission.NewLazyObject(old)}
	request := cel.CreateAdmissionRequest(record, metav1.GroupVersionResource(resource), metav1.GroupVersionKind(kind))
	results, _, err := compiled.ForInput(t.Context(), attributes, request, cel.OptionalVariableBindings{}, nil, celconfig.RuntimeCELCostBudget)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if r.Error != nil || r.EvalResult.Value() != true {
			return i
		}
	}
	return len(results)
}
