package apidoc

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"pai.dev/pai/internal/pai"
)

type color string

type base struct {
	Name string `json:"name"`
	Size int    `json:"size"`
}

type tree struct {
	base
	Name     string            `json:"name"` // hides that of base
	Color    color             `json:"color"`
	Paint    *color            `json:"paint"`
	Since    time.Time         `json:"since,omitzero"`
	Key      []byte            `json:"key"`
	Height   *float64          `json:"height,omitempty"`
	Parent   *tree             `json:"parent"`
	Children []tree            `json:"children"`
	Labels   map[string]string `json:"labels"`
	Any      json.RawMessage   `json:"any"`
	Number   json.Number       `json:"number,omitempty"`
	Skipped  string            `json:"-"`
	hidden   string
}

func schemas() *Schemas {
	return &Schemas{Known: map[reflect.Type]*Schema{reflect.TypeFor[color](): OneOf[color]("red", "green")}}
}

func text(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestSchemaOfAnswer(t *testing.T) {
	t.Parallel()
	_ = tree{hidden: ""}
	s := schemas()
	if got, want := text(t, s.Answer([]tree{})), `{"type":"array","items":{"$ref":"#/components/schemas/apidoc.Tree"}}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	got := s.Named()["apidoc.Tree"]
	if want := "any children color key labels name paint parent size"; strings.Join(got.Required, " ") != want {
		t.Errorf("got required %v, want %s", got.Required, want)
	}
	for name, want := range map[string]string{
		"size": `{"type":"integer","format":"int64"}`, "color": `{"type":"string","enum":["red","green"]}`,
		"paint": `{"type":["string","null"],"enum":["red","green",null]}`, "since": `{"type":"string","format":"date-time"}`,
		"key": `{"type":"string","contentEncoding":"base64"}`, "height": `{"type":"number"}`,
		"parent":   `{"anyOf":[{"$ref":"#/components/schemas/apidoc.Tree"},{"type":"null"}]}`,
		"children": `{"type":"array","items":{"$ref":"#/components/schemas/apidoc.Tree"}}`,
		"labels":   `{"type":"object","additionalProperties":{"type":"string"}}`, "any": `{}`, "number": `{"type":["number","string"]}`,
	} {
		if got := text(t, got.Properties[name]); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	if n := len(got.Properties); n != 12 {
		t.Errorf("got %d properties: %s", n, text(t, got))
	}
}

func TestSchemaOfRequestRequiresNothing(t *testing.T) {
	t.Parallel()
	s := schemas()
	s.Answer(tree{})
	if got, want := text(t, s.Request(tree{})), `{"$ref":"#/components/schemas/apidoc.Tree.request"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	got := s.Named()["apidoc.Tree.request"]
	if got.Required != nil || text(t, got.Properties["paint"]) != `{"type":"string","enum":["red","green"]}` {
		t.Errorf("got %s", text(t, got))
	}
	if got := text(t, s.Request(struct{ Username string }{})); got != `{"type":"object","properties":{"username":{"type":"string"}}}` {
		t.Errorf("without a tag: %s", got)
	}
}

func TestSchemaOfTaggedField(t *testing.T) {
	t.Parallel()
	type tagged struct {
		Value string `json:"value" api:"letters"`
	}
	s := &Schemas{Tagged: map[string]*Schema{"letters": Matching("^[a-z]+$")}}
	s.Request(tagged{})
	if got, want := text(t, s.Named()["apidoc.Tagged"].Properties["value"]), `{"type":"string","pattern":"^[a-z]+$"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	defer func() {
		if recover() == nil {
			t.Error("an unknown tag was accepted")
		}
	}()
	(&Schemas{}).Request(tagged{})
}

// A field of an embedded struct belongs to the package of that struct.
func TestSchemaOfEmbeddedStoredValue(t *testing.T) {
	t.Parallel()
	type names struct{ pai.JobLine }
	s := &Schemas{Stored: func(pkg string) bool { return strings.HasSuffix(pkg, "/pai") }}
	s.Answer(names{})
	if got, want := text(t, s.Named()["apidoc.Names"].Properties["machines"]), `{"type":["array","null"],"items":{"type":"string"}}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestSchemaOfStoredValueAllowsNullLists(t *testing.T) {
	t.Parallel()
	s := schemas()
	s.Stored = func(string) bool { return true }
	s.Answer(tree{})
	for name, want := range map[string]string{
		"children": `{"type":["array","null"],"items":{"$ref":"#/components/schemas/apidoc.Tree"}}`,
		"labels":   `{"type":["object","null"],"additionalProperties":{"type":"string"}}`, "name": `{"type":"string"}`,
	} {
		if got := text(t, s.Named()["apidoc.Tree"].Properties[name]); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	s = schemas()
	s.Stored = func(pkg string) bool { return pkg == "time" }
	s.Answer(tree{})
	if got := text(t, s.Named()["apidoc.Tree"].Properties["labels"]); strings.Contains(got, "null") {
		t.Errorf("of a package that is not stored: %s", got)
	}
	s = schemas()
	s.Loose = func(pkg string) bool { return strings.HasSuffix(pkg, "apidoc") }
	if got := text(t, s.Answer(tree{})); got != `{"type":"object"}` {
		t.Errorf("of a loose package: %s", got)
	}
}
