package apidoc

// Schema is a JSON schema of draft 2020-12. The zero Schema allows every value.
type Schema struct {
	Ref         string             `json:"$ref,omitempty"`
	Description string             `json:"description,omitempty"`
	Type        any                `json:"type,omitempty"` // a string, or a list of them
	Format      string             `json:"format,omitempty"`
	Encoding    string             `json:"contentEncoding,omitempty"`
	Enum        []any              `json:"enum,omitempty"`
	Pattern     string             `json:"pattern,omitempty"`
	MinLength   *int               `json:"minLength,omitempty"`
	MaxLength   *int               `json:"maxLength,omitempty"`
	Minimum     *int64             `json:"minimum,omitempty"`
	Maximum     *int64             `json:"maximum,omitempty"`
	Default     any                `json:"default,omitempty"`
	Items       *Schema            `json:"items,omitempty"`
	AnyOf       []*Schema          `json:"anyOf,omitempty"`
	Properties  map[string]*Schema `json:"properties,omitempty"`
	Values      *Schema            `json:"additionalProperties,omitempty"` // of a map
	Required    []string           `json:"required,omitempty"`
}

// Text is a schema of a string.
func Text() *Schema { return &Schema{Type: "string"} }

// Truth is a schema of a Boolean value.
func Truth() *Schema { return &Schema{Type: "boolean"} }

// Matching is a schema of a string with a pattern.
func Matching(pattern string) *Schema { return &Schema{Type: "string", Pattern: pattern} }

// OneOf is a schema of a string that has one of the values.
func OneOf[T ~string](values ...T) *Schema {
	s := Text()
	for _, v := range values {
		s.Enum = append(s.Enum, string(v))
	}
	return s
}

// Whole is a schema of a whole number within limits.
func Whole(least, most int64) *Schema {
	return &Schema{Type: "integer", Minimum: &least, Maximum: &most}
}

// ListOf is a schema of a list.
func ListOf(items *Schema) *Schema { return &Schema{Type: "array", Items: items} }

// orNull is a schema that also allows null.
func orNull(s *Schema) *Schema {
	name, plain := s.Type.(string)
	switch {
	case s.Ref != "":
		return &Schema{AnyOf: []*Schema{s, {Type: "null"}}}
	case !plain: // it allows every value, or null already
		return s
	}
	with := *s
	with.Type = []string{name, "null"}
	if s.Enum != nil {
		with.Enum = append(append([]any{}, s.Enum...), nil)
	}
	return &with
}
