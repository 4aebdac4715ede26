package check

import (
	"cmp"
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

// validator validates objects as the API server does, with its code: the schema,
// the list types, and the CEL rules.
type validator struct {
	schema     validation.SchemaValidator
	structural *schema.Structural
	rules      *cel.Validator
}

// newValidator returns a validator for one version of a definition. A version
// without a schema accepts everything.
func newValidator(d apiextensions.CustomResourceDefinition, version string) (*validator, error) {
	for _, v := range d.Spec.Versions {
		if v.Name != version {
			continue
		}
		if v.Schema == nil || v.Schema.OpenAPIV3Schema == nil {
			return &validator{}, nil
		}
		var props internal.JSONSchemaProps
		errProps := apiextensions.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(v.Schema.OpenAPIV3Schema, &props, nil)
		s, _, errSchema := validation.NewSchemaValidator(&props)
		structural, errStructural := schema.NewStructural(&props)
		if err := cmp.Or(errProps, errSchema, errStructural); err != nil {
			return nil, fmt.Errorf("read the schema of %s %s: %w", d.Name, version, err)
		}
		return &validator{s, structural, cel.NewValidator(structural, true, celconfig.PerCallLimit)}, nil
	}
	return nil, fmt.Errorf("%s has no version %s", d.Name, version)
}

// maxProblems is how many problems of one object are named.
const maxProblems = 3

// validate returns the problems of an object that is read from storage. The API
// server then prunes unknown fields and sets defaults.
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
		if i == maxProblems {
			texts = append(texts, fmt.Sprintf("and %d more", len(problems)-i))
			break
		}
		texts = append(texts, p.Error())
	}
	return texts
}
