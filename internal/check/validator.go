package check

import (
	"context"
	"fmt"

	internal "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
)

// validator validates objects as the API server does, with its own code: the
// schema, the kinds of lists, and the rules written in CEL.
type validator struct {
	schema     validation.SchemaValidator
	structural *schema.Structural
	rules      *cel.Validator
}

// newValidator is for one version of a definition. One without a schema, which
// takes anything, has a validator that does so, too.
func newValidator(d apiextensions.CustomResourceDefinition, version string) (*validator, error) {
	for _, v := range d.Spec.Versions {
		if v.Name != version {
			continue
		}
		if v.Schema == nil || v.Schema.OpenAPIV3Schema == nil {
			return &validator{}, nil
		}
		var props internal.JSONSchemaProps
		if err := apiextensions.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(v.Schema.OpenAPIV3Schema, &props, nil); err != nil {
			return nil, fmt.Errorf("read the schema of %s %s: %w", d.Name, version, err)
		}
		s, _, err := validation.NewSchemaValidator(&props)
		if err != nil {
			return nil, fmt.Errorf("read the schema of %s %s: %w", d.Name, version, err)
		}
		structural, err := schema.NewStructural(&props)
		if err != nil {
			return nil, fmt.Errorf("read the schema of %s %s: %w", d.Name, version, err)
		}
		return &validator{s, structural, cel.NewValidator(structural, true, celconfig.PerCallLimit)}, nil
	}
	return nil, fmt.Errorf("%s has no version %s", d.Name, version)
}

// mostProblems is how many problems of one object are named.
const mostProblems = 3

// validate says what is wrong with an object that is read from storage: what
// the schema does not know is dropped then, and defaults are filled in.
func (v *validator) validate(ctx context.Context, o *unstructured.Unstructured) []string {
	if v.schema == nil {
		return nil
	}
	object := o.DeepCopy().Object
	pruning.Prune(object, v.structural, true)
	defaulting.PruneNonNullableNullsWithoutDefaults(object, v.structural)
	defaulting.Default(object, v.structural)
	problems := validation.ValidateCustomResource(nil, object, v.schema)
	problems = append(problems, listtype.ValidateListSetsAndMaps(nil, v.structural, object)...)
	if v.rules != nil && len(problems) == 0 {
		found, _ := v.rules.Validate(ctx, field.NewPath("root"), v.structural, object, nil, celconfig.RuntimeCELCostBudget)
		problems = append(problems, found...)
	}
	var texts []string
	for i, p := range problems {
		if i == mostProblems {
			texts = append(texts, fmt.Sprintf("and %d more", len(problems)-i))
			break
		}
		texts = append(texts, p.Error())
	}
	return texts
}
