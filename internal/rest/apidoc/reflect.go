package apidoc

import (
	"encoding/json"
	"path"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Schemas makes schemas from Go types, as encoding/json writes and reads them.
type Schemas struct {
	// Known are the schemas of types that are not made from their fields.
	Known map[reflect.Type]*Schema
	// Tagged are the schemas of fields with a tag "api", by the value of the tag: what a
	// handler checks beyond the type.
	Tagged map[string]*Schema
	// Loose reports whether a struct of a package is described as an object of any shape.
	Loose func(pkg string) bool
	// Stored reports whether values of a package are read as another release wrote them:
	// their lists can be null.
	Stored func(pkg string) bool

	named map[string]*Schema
	names map[use]string
}

// use is a type in an answer or in a request: what is required differs.
type use struct {
	t       reflect.Type
	request bool
}

// Named returns the schemas of the structs, by name.
func (s *Schemas) Named() map[string]*Schema { return s.named }

// Answer returns the schema of what a server writes: fields without omitempty are required.
func (s *Schemas) Answer(v any) *Schema { return s.of(use{reflect.TypeOf(v), false}) }

// Request returns the schema of what a server reads: no field is required, because a
// missing one is read as its zero value.
func (s *Schemas) Request(v any) *Schema { return s.of(use{reflect.TypeOf(v), true}) }

func (s *Schemas) of(u use) *Schema {
	if known := s.Known[u.t]; known != nil {
		return known
	}
	switch u.t {
	case reflect.TypeFor[time.Time]():
		return &Schema{Type: "string", Format: "date-time"}
	case reflect.TypeFor[json.RawMessage]():
		return &Schema{}
	case reflect.TypeFor[json.Number]():
		return &Schema{Type: []string{"number", "string"}}
	case reflect.TypeFor[[]byte]():
		return &Schema{Type: "string", Encoding: "base64"}
	}
	elem := func() *Schema { return s.of(use{u.t.Elem(), u.request}) }
	switch u.t.Kind() { //nolint:exhaustive // the others do not occur in JSON
	case reflect.Bool:
		return Truth()
	case reflect.String:
		return Text()
	case reflect.Int, reflect.Int64:
		return &Schema{Type: "integer", Format: "int64"}
	case reflect.Int32:
		return &Schema{Type: "integer", Format: "int32"}
	case reflect.Float64:
		return &Schema{Type: "number"}
	case reflect.Pointer:
		if u.request {
			return elem()
		}
		return orNull(elem())
	case reflect.Slice:
		return ListOf(elem())
	case reflect.Map:
		return &Schema{Type: "object", Values: elem()}
	case reflect.Struct:
		return s.structure(u)
	}
	return &Schema{}
}

// structure returns a reference to the schema of a struct, or the schema of one without a name.
func (s *Schemas) structure(u use) *Schema {
	if s.Loose != nil && s.Loose(u.t.PkgPath()) {
		return &Schema{Type: "object"}
	}
	if u.t.Name() == "" || strings.Contains(u.t.Name(), "[") {
		return s.fields(u)
	}
	name, made := s.names[u]
	if !made {
		name = s.nameOf(u)
		if s.named == nil {
			s.named, s.names = map[string]*Schema{}, map[use]string{}
		}
		s.names[u], s.named[name] = name, &Schema{} // it can contain itself
		*s.named[name] = *s.fields(u)
	}
	return &Schema{Ref: "#/components/schemas/" + name}
}

func (s *Schemas) nameOf(u use) string {
	letters := []rune(u.t.Name())
	letters[0] = unicode.ToUpper(letters[0])
	name := path.Base(u.t.PkgPath()) + "." + string(letters)
	if _, taken := s.named[name]; taken {
		name += ".request"
	}
	return name
}

func (s *Schemas) fields(u use) *Schema {
	object := &Schema{Type: "object", Properties: map[string]*Schema{}}
	for _, f := range reflect.VisibleFields(u.t) {
		tag, tagged := f.Tag.Lookup("json")
		name, options, _ := strings.Cut(tag, ",")
		if tag == "-" || f.Anonymous && !tagged || !f.Anonymous && !f.IsExported() {
			continue
		}
		if name == "" {
			name = f.Name
			if u.request { // any spelling is read; this is the usual one
				name = strings.ToLower(name)
			}
		}
		schema := s.of(use{f.Type, u.request})
		if tag := f.Tag.Get("api"); tag != "" {
			if schema = s.Tagged[tag]; schema == nil {
				panic("the field " + f.Name + " of " + u.t.String() + " has the unknown tag " + tag)
			}
		}
		optional := u.request || strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero")
		isList := f.Type.Kind() == reflect.Slice || f.Type.Kind() == reflect.Map
		switch {
		case u.request:
		case optional && f.Type.Kind() == reflect.Pointer:
			schema = s.of(use{f.Type.Elem(), false})
		case !optional && isList && s.Stored != nil && s.Stored(declaring(u.t, f).PkgPath()):
			schema = orNull(schema)
		}
		object.Properties[name] = schema
		if !optional {
			object.Required = append(object.Required, name)
		}
	}
	slices.Sort(object.Required)
	return object
}

// declaring returns the struct that has a field, which can be embedded in t.
func declaring(t reflect.Type, f reflect.StructField) reflect.Type {
	for _, i := range f.Index[:len(f.Index)-1] {
		t = t.Field(i).Type
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
	}
	return t
}
